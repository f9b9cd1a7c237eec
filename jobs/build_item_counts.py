"""daily_item_counts: impressions, exposures, clicks and training examples of each item on a day.

Counts of a window are sums of these days (`build_window_counts`). Overwrites the day.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def daily_item_counts(interactions: DataFrame, training_examples: DataFrame, vocabularies: DataFrame) -> DataFrame:
    """One row per item with an impression on the day."""
    frames = {"interactions": interactions, "training_examples": training_examples, "vocabularies": vocabularies}
    return query(interactions.sparkSession, "daily_item_counts/query", frames)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_counts")
    rows = daily_item_counts(
        lake.required_day(tables.INTERACTIONS, args.ds),
        lake.day(tables.training_examples(config), args.ds),
        lake.read(tables.VOCABULARIES),
    )
    return overwrite_checked(lake, tables.DAILY_ITEM_COUNTS, args.ds, rows)


if __name__ == "__main__":
    run(main)
