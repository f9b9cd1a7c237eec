"""window_item_counts: the daily item counts, summed over the training window.

Updates yesterday's sums: adds the day that enters the window and subtracts the day that leaves it. Without yesterday's
sums, or with --full, all days of the window are summed. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.encoding import union


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument(
        "--full", action="store_true", help="sum all days of the window instead of updating yesterday's sums"
    )
    return parser


def window_item_counts(parts: DataFrame, days: int) -> DataFrame:
    """One row per item of the window. parts: counts with a `sign` of 1 or -1, which are summed."""
    return query(parts.sparkSession, "window_item_counts/query", {"parts": parts}, window_days=days)


def window_parts(lake: Lake, ds: dt.date, days: int, full: bool) -> DataFrame:
    """Counts whose signed sum is that of the window: yesterday's sums and two days, or all days of the window.

    full: use all days even if there are sums of yesterday.
    """
    yesterday = lake.day(tables.WINDOW_ITEM_COUNTS, ds - dt.timedelta(days=1)).where(F.col("window_days") == days)
    if full or yesterday.isEmpty():
        return _signed(lake.window(tables.DAILY_ITEM_COUNTS, ds, days), 1)
    leaving = lake.day(tables.DAILY_ITEM_COUNTS, ds - dt.timedelta(days=days))
    return union(
        [_signed(yesterday, 1), _signed(lake.day(tables.DAILY_ITEM_COUNTS, ds), 1), _signed(leaving, -1)],
    )


def _signed(counts: DataFrame, sign: int) -> DataFrame:
    return counts.select(list(tables.ITEM_COUNTS)).withColumn("sign", F.lit(sign))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_window_counts")
    days = config.log.examples_window_days
    lake.require_day(tables.DAILY_ITEM_COUNTS, args.ds)
    rows = window_item_counts(window_parts(lake, args.ds, days, args.full), days)
    examples = lake.window(tables.training_examples(config), args.ds, days)
    return overwrite_checked(lake, tables.WINDOW_ITEM_COUNTS, args.ds, rows, training_examples=examples)


if __name__ == "__main__":
    run(main)
