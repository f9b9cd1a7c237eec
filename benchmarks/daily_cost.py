"""What a day of tables costs: beside a bulk back-fill of all days, beside an early day, and beside a MERGE.

20 million impressions over 30 days by default; 5 % of the clicks land a day late, so each day builds what follows from
the one before it again. All in one warm session; days 2 and 30 are run several times in turn.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable

from delta.tables import DeltaTable
from pyspark.sql import functions as F

from benchmarks.synthetic_log import SLATE, SyntheticLog
from jobs import build_interactions
from jobs.cli.display import Display
from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.raw_log.attribution import AttributionWindow
from jobs.run_day import WINDOW_JOBS, run_day

FIRST = dt.date(2026, 1, 1)


class Run:
    """A lake of so many landed days, whose tables can be run and taken back day by day."""

    def __init__(self, lake: Lake, config: Config, log: SyntheticLog) -> None:
        self.lake, self.config, self.log = lake, config, log

    def land(self, ds: dt.date) -> None:
        self.log.land(self.lake, self.config, ds, first=ds == FIRST)

    def day(self, ds: dt.date) -> float:
        """Seconds of all tables of a day, pool and probabilities included."""
        began = time.perf_counter()
        common = ["--lake", self.lake.uri]
        run_day(self.lake, self.config, ds, common, Display(str(ds)), tables_only=True)
        for job in WINDOW_JOBS:
            job.main([*common, "--ds", str(ds)])
        return time.perf_counter() - began

    def take_back(self, ds: dt.date) -> None:
        """Make it as it was before `ds` landed: no row of it anywhere, and the day before without its late clicks."""
        derived = [
            tables.INTERACTIONS, tables.RECONCILIATION, tables.training_examples(self.config), tables.USER_HISTORIES,
            tables.user_snapshot(self.config), tables.item_snapshot(self.config), tables.DAILY_ITEM_COUNTS,
            tables.WINDOW_ITEM_COUNTS, tables.UNCLICKED_ITEMS, tables.ITEM_SAMPLING_PROBS,
        ]  # fmt: skip
        for table in (tables.IMPRESSIONS, tables.CLICKS, *derived):
            DeltaTable.forPath(self.lake.spark, self.lake.table_path(table)).delete(F.col("ds") == F.lit(ds))
        self.day(ds - dt.timedelta(days=1))


def merge_seconds(run: Run, days: list[dt.date]) -> tuple[float, float]:
    """(overwrite, MERGE) of the interactions of the same days, worked out by the same query, into all thirty."""
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


def in_turn(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """Seconds of each of `works`, round after round."""
    return [list(seconds) for seconds in zip(*([work() for work in works] for _ in range(rounds)), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--impressions", type=int, default=20_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="of the days that are compared (default 3)")
    args = parser.parse_args()
    spark, config = spark_session("daily_cost"), load_config()
    log = SyntheticLog(args.impressions // args.days // SLATE, args.users, args.items)
    days = days_between(FIRST, FIRST + dt.timedelta(days=args.days - 1))
    with tempfile.TemporaryDirectory(prefix="daily-cost-") as folder:
        early, late = (Run(Lake(spark, f"{folder}/{name}"), config, log) for name in ("early", "late"))
        for ds in days[:2]:
            early.land(ds)
            early.day(ds)
        for ds in days:
            late.land(ds)
        began = time.perf_counter()
        for ds in days:
            late.day(ds)
        bulk = time.perf_counter() - began

        def again(run: Run, ds: dt.date) -> float:
            run.take_back(ds)
            run.land(ds)
            return run.day(ds)

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
