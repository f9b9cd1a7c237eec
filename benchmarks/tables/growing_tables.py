"""What grows with the age of a lake: the vocabularies that a day adds to, and the clicked items that a user has.

    python -m benchmarks.tables.growing_tables

First: what adding a day's new ids reads, by a MERGE that looks for their indices, and by a commit that follows the
version that was read. Then: bytes of a user's row in user_histories after so many days, with `exclusions.clicked` as a
number of days that is never reached (each day is kept), and as "ever" (old days are merged).
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.tables.costs import cost
from jobs.build_histories import user_histories
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session

DAY = dt.date(2026, 1, 1)
NEVER_REACHED = 36_500
CLICK_DAYS = {  # a user clicks every so many days, so many items
    "1 click in 10 days": (10, 1),
    "2 clicks in 3 days": (3, 2),
    "10 clicks a day": (1, 10),
    "100 clicks a day": (1, 100),
}


def new_ids(spark: SparkSession, first: int, count: int) -> DataFrame:
    return spark.range(first, first + count).selectExpr(
        "'user_id' as feature", "concat('user-', id) as value", "int(id) as index", f"DATE'{DAY}' as ds"
    )


def merge(lake: Lake, rows: DataFrame) -> None:
    """Add rows unless the table has one of their indices."""
    table = DeltaTable.forPath(lake.spark, lake.table_path(tables.VOCABULARIES)).alias("existing")
    same = "existing.feature = added.feature and existing.index = added.index"
    merged = table.merge(rows.alias("added"), same).whenNotMatchedInsertAll()
    merged.whenMatchedUpdate(set={"ds": "raise_error('key conflict')"}).execute()


def measure_vocabularies(lake: Lake, sizes: Sequence[int], added: int) -> None:
    print("| ids in the vocabulary | MERGE reads rows | bytes | the commit reads rows | bytes |")
    print("|---|---|---|---|---|")
    known = 2
    for size in sizes:
        lake.append(tables.VOCABULARIES, new_ids(lake.spark, known, size - known))
        version, rows = lake.version(tables.VOCABULARIES), new_ids(lake.spark, size, added).localCheckpoint()
        committed = cost(lake.spark, partial(lake.append_after, tables.VOCABULARIES, rows, version))
        rows = new_ids(lake.spark, size + added, added).localCheckpoint()
        merged = cost(lake.spark, partial(merge, lake, rows))
        known = size + 2 * added
        cells = [size, merged.read_rows, merged.read_bytes, committed.read_rows, committed.read_bytes]
        print(f"| {' | '.join(f'{cell:,.0f}' for cell in cells)} |", flush=True)


def clicked_by_day(spark: SparkSession, users: int, days: int, every: int, clicks: int, items: int) -> DataFrame:
    """Rows of user_histories in which each day is kept; popular items are clicked again and again."""
    drawn = f"int(2 + {items} * pow(pmod(xxhash64(id, day, click), 1000003) / 1000003d, 3))"
    return spark.range(users).selectExpr(
        f"DATE'{DAY}' as ds", "concat('user-', id) as user_id", "array(2) as history",
        "cast(null as array<int>) as clicked_minutes",
        f"""transform(
            filter(sequence({days}, 1, -1), day -> pmod(day + id, {every}) = 0),
            day -> struct(
                date_sub(DATE'{DAY}', int(day)) as ds,
                array_sort(array_distinct(transform(sequence(1, {clicks}), click -> {drawn}))) as item_indices
            )
        ) as clicked""",
    )  # fmt: skip


def bytes_a_user(lake: Lake, before: DataFrame, rule: str | int, max_old_items: int) -> float:
    """Of the day's row of user_histories, with that rule, after a day without clicks."""
    spark = lake.spark
    exclusions = load_config().exclusions.model_copy(update={"clicked": rule, "max_old_items": max_old_items})
    nothing = (spark.createDataFrame([], table.schema) for table in (tables.INTERACTIONS, tables.VOCABULARIES))
    clicks, vocabularies = nothing
    rows = user_histories(clicks, before, before.select("user_id"), vocabularies, DAY, 50, exclusions)
    users = lake.overwrite(tables.USER_HISTORIES, DAY, rows.drop("clicked_minutes").coalesce(1))
    files = lake.pinned(tables.USER_HISTORIES, DAY, 1).files
    return sum(Path(unquote(urlparse(url).path)).stat().st_size for url in files) / users


def measure_exclusions(lake: Lake, users: int, items: int, days: Sequence[int], max_old_items: int) -> None:
    print("\n| user | days | day by day, bytes a user | merged | merged, share | "
          f"at most {max_old_items:,} old items |\n|---|---|---|---|---|---|")  # fmt: skip
    for name, (every, clicks) in CLICK_DAYS.items():
        some = max(users // (1 + clicks), 20)
        for number in days:
            before = clicked_by_day(lake.spark, some, number, every, clicks, items).localCheckpoint()
            by_day = bytes_a_user(lake, before, NEVER_REACHED, 0)
            merged, bounded = (bytes_a_user(lake, before, "ever", most) for most in (0, max_old_items))
            sizes = f"{by_day:,.0f} | {merged:,.0f} | {merged / by_day:.2f} | {bounded:,.0f}"
            print(f"| {name} | {number} | {sizes} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--ids", type=int, default=200_000, help="in the smallest vocabulary; others: 4 and 8 times as many"
    )
    parser.add_argument("--added", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--days", type=int, nargs="+", default=[30, 90, 365, 1_095])
    parser.add_argument("--max-old-items", type=int, default=10_000)
    args = parse(parser, argv, ids=100, added=10, users=40, items=50, days=[40])
    spark = spark_session("growing-tables")
    with tempfile.TemporaryDirectory(prefix="growing-tables-") as folder:
        lake = Lake(spark, folder)
        measure_vocabularies(lake, [args.ids * factor for factor in (1, 4, 8)], args.added)
        measure_exclusions(lake, args.users, args.items, args.days, args.max_old_items)


if __name__ == "__main__":
    main()
