"""candidates: K items for every user, by the user tower and the index, on the executors.

Items that the exclusion rule asks for and items that are not available are left out. A user without a click gets the
most clicked available items, with source `popular`. Overwrites the day; rows are sorted by user_id within files.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.build_histories import excluded
from jobs.common import tables
from jobs.common.arguments import at_argument, job_parser, now, open_lake, run
from jobs.common.config import Config
from jobs.common.encoding import pad
from jobs.common.models import refer
from jobs.common.partitions import Lake
from jobs.common.queries import query
from jobs.common.scoring import candidates

USERS_PER_TASK = 100_000


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument("--scored-at", type=at_argument, help="time recorded with the rows, ISO 8601 (default: now)")
    return parser


def users_to_score(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Every user known at the end of the day: features, padded history, `excluded` item indices, `is_cold`."""
    snapshot = lake.required_day(tables.user_snapshot(config), ds)
    frames = {"user_snapshot": snapshot, "user_histories": excluded(lake.day(tables.USER_HISTORIES, ds))}
    users = query(lake.spark, "candidates/users_to_score", frames)
    return users.withColumn("history", pad(F.col("clicks"), max(config.features.history_length, 1)))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "score_users")
    ref = refer(lake, args.ds, config.index.backend)
    users = users_to_score(lake, config, args.ds)
    tasks = max(lake.spark.sparkContext.defaultParallelism, -(-users.count() // USERS_PER_TASK))
    users = users.repartitionByRange(tasks, "user_id").sortWithinPartitions("user_id")
    rows = candidates(users, ref, config.scoring.candidates_per_user)
    rows = rows.withColumn("model_version", F.lit(ref.version)).withColumn("scored_at", F.lit(args.scored_at or now()))
    return lake.overwrite(tables.CANDIDATES, args.ds, rows)


if __name__ == "__main__":
    run(main)
