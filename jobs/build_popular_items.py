"""popular_items: the most clicked items of the training window, of all users and of each segment of users.

They are the candidates of cold users, and `scoring.popular_quota` reserves ranks for them in other lists. Items that
are not available, are on the blocklist or are too old are left out; if none is left because of
`scoring.max_item_age_days`, the job stops. Overwrites the day.
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
from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items, require_eligible
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.lake import Lake
from jobs.lake.queries import query

ALL_USERS_FACTOR = 64  # times the length of a list: enough even if a cap on categories leaves many items out
SEGMENT_FACTOR = 4


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def popular_items(items: DataFrame, window_counts: DataFrame, examples: DataFrame, k: int) -> DataFrame:
    """Rows (segment, item_id, item_index, clicks, share, rank) for lists of length k; examples: (segment, item_id)."""
    frames = {"items": items, "window_item_counts": window_counts, "examples": examples}
    lengths = {"all_users": ALL_USERS_FACTOR * k, "per_segment": SEGMENT_FACTOR * k}
    return query(items.sparkSession, "popular_items/query", frames, **lengths)


def with_segments(examples: DataFrame, segment: str) -> DataFrame:
    """Rows (segment, item_id) of the examples whose user's segment is known; none if no segment feature is set."""
    named = examples.where(F.lit(bool(segment))).withColumn("segment", F.col(segment) if segment else F.lit(0))
    return named.where("segment > 1").select("segment", "item_id")


def popular_items_of_day(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's rows of popular_items, from the tables in the lake."""
    examples = lake.window(tables.training_examples(config), ds, config.log.examples_window_days)
    return popular_items(
        eligible_items(lake, config, ds),
        lake.required_day(tables.WINDOW_ITEM_COUNTS, ds),
        with_segments(examples, config.scoring.segment_feature),
        config.scoring.candidates_per_user,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_popular_items")
    require_eligible(lake, config, args.ds)
    return overwrite_checked(lake, tables.POPULAR_ITEMS, args.ds, popular_items_of_day(lake, config, args.ds))


if __name__ == "__main__":
    run(main)
