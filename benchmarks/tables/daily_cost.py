"""What a day of tables costs compared with a back-fill of all days, with an early day, and with a MERGE.

20 million impressions over 30 days by default. 5 % of the clicks land a day late, so that each day also rebuilds the
tables of the day before. All runs share one warm session; days 2 and 30 take turns, several times.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

from delta.tables import DeltaTable
from pyspark.sql import functions as F

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds import WITH_POOL
from benchmarks.worlds.synthetic_log import SLATE, SyntheticLog
from jobs import build_interactions
from jobs.cli.display import Display
from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.raw_log.attribution import AttributionWindow
from jobs.run_day import TABLE_JOBS, WINDOW_JOBS, run_day

FIRST = dt.date(2026, 1, 1)


class Run:
    """A lake of landed days, whose tables can be built and removed day by day."""

    def __init__(self, lake: Lake, config: Config, log: SyntheticLog) -> None:
        self.lake, self.config, self.log = lake, config, log

    def land(self, ds: dt.date) -> None:
        self.log.land(self.lake, self.config, ds, first=ds == FIRST)

    def build_day(self, ds: dt.date) -> float:
        """Build all tables of a day, pool and probabilities included; returns the seconds."""
        began = time.perf_counter()
        common = ["--lake", self.lake.uri, "--config", str(WITH_POOL)]
        run_day(self.lake, self.config, ds, common, Display(str(ds)), jobs=(*TABLE_JOBS, *WINDOW_JOBS))
        return time.perf_counter() - began

    def remove_day(self, ds: dt.date) -> None:
        """Delete all rows of `ds` and rebuild the day before without the late clicks: the state before `ds` landed."""
        derived = [
            tables.INTERACTIONS, tables.RECONCILIATION, tables.training_examples(self.config), tables.USER_HISTORIES,
            tables.user_snapshot(self.config), tables.item_snapshot(self.config), tables.DAILY_ITEM_COUNTS,
            tables.WINDOW_ITEM_COUNTS, tables.UNCLICKED_ITEMS, tables.ITEM_SAMPLING_PROBS,
        ]  # fmt: skip
        for table in (tables.IMPRESSIONS, tables.CLICKS, *derived):
            DeltaTable.forPath(self.lake.spark, self.lake.table_path(table)).delete(F.col("ds") == F.lit(ds))
        self.build_day(ds - dt.timedelta(days=1))


def merge_seconds(run: Run, days: list[dt.date]) -> tuple[float, float]:
    """Seconds of writing the same interactions of `days` into the table of all days: by overwrite, and by MERGE."""
    lake = run.lake
    copy = Lake(lake.spark, tempfile.mkdtemp(prefix="merged-", dir=lake.uri))
    lake.read(tables.INTERACTIONS).write.format("delta").partitionBy("ds").save(copy.table_path(tables.INTERACTIONS))
    began = time.perf_counter()
    for ds in days:
        build_interactions.main(["--lake", lake.uri, "--ds", str(ds)])
    overwritten = time.perf_counter() - began
    began = time.perf_counter()
    for ds in days:
        window = AttributionWindow.from_config(run.config)
        rows = build_interactions.interactions(lake.read(tables.IMPRESSIONS), lake.read(tables.CLICKS), ds, window)
        rows = build_interactions.with_examined(rows, "all", 1)
        target = DeltaTable.forPath(lake.spark, copy.table_path(tables.INTERACTIONS)).alias("old")
        merge = target.merge(rows.alias("new"), "old.impression_id = new.impression_id")
        merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    return overwritten, time.perf_counter() - began


def in_turn(rounds: int, *timed: Callable[[], float]) -> list[list[float]]:
    """The seconds that each of `timed` returns in each round; they take turns."""
    return [list(seconds) for seconds in zip(*([run() for run in timed] for _ in range(rounds)), strict=True)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--impressions", type=int, default=20_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="of the two days that are compared (default 3)")
    args = parse(parser, argv, impressions=400, days=2, users=20, items=40, rounds=1)
    spark, config = spark_session("daily_cost"), load_config()
    log = SyntheticLog(args.impressions // args.days // SLATE, args.users, args.items)
    days = days_between(FIRST, FIRST + dt.timedelta(days=args.days - 1))
    with tempfile.TemporaryDirectory(prefix="daily-cost-") as folder:
        early, late = (Run(Lake(spark, f"{folder}/{name}"), config, log) for name in ("early", "late"))
        for ds in days[:2]:
            early.land(ds)
            early.build_day(ds)
        for ds in days:
            late.land(ds)
        began = time.perf_counter()
        for ds in days:
            late.build_day(ds)
        bulk = time.perf_counter() - began

        def again(run: Run, ds: dt.date) -> float:
            run.remove_day(ds)
            run.land(ds)
            return run.build_day(ds)

        second, last = in_turn(args.rounds, lambda: again(early, days[1]), lambda: again(late, days[-1]))
        overwritten, merged = merge_seconds(late, days[-2:])
    rows = log.requests * SLATE
    day2, day30 = statistics.median(second), statistics.median(last)
    print(f"\n{rows:,} impressions a day, {args.days} days; seconds")
    print(f"bulk back-fill of all days: {bulk:.1f}  ({bulk / args.days:.1f} a day)")
    print(f"day 2:  {', '.join(f'{s:.1f}' for s in second)}")
    print(f"day {args.days}: {', '.join(f'{s:.1f}' for s in last)}")
    print(f"day {args.days} / bulk: 1/{bulk / day30:.1f} (at most 1/15)")
    print(f"day {args.days} / day 2: {day30 / day2:.2f} (at most 1.1)")
    print(f"interactions of two days: overwrite {overwritten:.1f}, MERGE {merged:.1f}")
    print(f"overwrite / MERGE: 1/{merged / overwritten:.1f} (at most 1/3)")


if __name__ == "__main__":
    main()
