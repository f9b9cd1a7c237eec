"""window_item_counts: what the days of the training window did with each item, together.

Yesterday's sums, with the day added that enters the window and the day taken away that leaves it, so that a day costs a
day; the days themselves where there are no such sums, or with --anew. Overwrites the day.
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
    parser.add_argument("--anew", action="store_true", help="sum the days of the window instead of yesterday's sums")
    return parser


def window_item_counts(parts: DataFrame, days: int) -> DataFrame:
    """One row for each item of the window; `parts` are counts with a `sign`, 1 or -1."""
    return query(parts.sparkSession, "window_item_counts/query", {"parts": parts}, window_days=days)


def window_parts(lake: Lake, ds: dt.date, days: int, anew: bool) -> DataFrame:
    """What the window's sums are made of: yesterday's sums and two days, or all its days."""
    yesterday = lake.day(tables.WINDOW_ITEM_COUNTS, ds - dt.timedelta(days=1)).where(F.col("window_days") == days)
    if anew or yesterday.isEmpty():
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
    lake.required_day(tables.DAILY_ITEM_COUNTS, args.ds)
    rows = window_item_counts(window_parts(lake, args.ds, days, args.anew), days)
    examples = lake.window(tables.training_examples(config), args.ds, days)
    return overwrite_checked(lake, tables.WINDOW_ITEM_COUNTS, args.ds, rows, training_examples=examples)


if __name__ == "__main__":
    run(main)
