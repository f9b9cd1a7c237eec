"""popular_items: what is clicked most in the window, by everybody and in each segment of users.

What users without a click get, and what `scoring.popular_quota` keeps places for. Items that are not available, or are
on the blocklist, are left out. Overwrites the day.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.lake import Lake
from jobs.lake.queries import query

EVERYBODY = 64  # times the length of a list: enough where a cap on categories leaves many out
OF_SEGMENT = 4


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def popular_items(items: DataFrame, window_counts: DataFrame, examples: DataFrame, k: int) -> DataFrame:
    """Rows (segment, item_id, item_index, clicks, share, rank); `examples` have a `segment` beside their item_id."""
    frames = {"items": items, "window_item_counts": window_counts, "examples": examples}
    lengths = {"everybody": EVERYBODY * k, "of_segment": OF_SEGMENT * k}
    return query(items.sparkSession, "popular_items/query", frames, **lengths)


def with_segments(examples: DataFrame, segment: str) -> DataFrame:
    """The examples whose user's segment is known; none where no feature tells it."""
    named = examples.where(F.lit(bool(segment))).withColumn("segment", F.col(segment) if segment else F.lit(0))
    return named.where("segment > 1").select("segment", "item_id")


def build(lake: Lake, config: Config, args: argparse.Namespace) -> DataFrame:
    examples = lake.window(tables.training_examples(config), args.ds, config.log.examples_window_days)
    return popular_items(
        eligible_items(lake, config, args.ds),
        lake.required_day(tables.WINDOW_ITEM_COUNTS, args.ds),
        with_segments(examples, config.scoring.segment_feature),
        config.scoring.candidates_per_user,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_popular_items")
    return overwrite_checked(lake, tables.POPULAR_ITEMS, args.ds, build(lake, config, args))


if __name__ == "__main__":
    run(main)
