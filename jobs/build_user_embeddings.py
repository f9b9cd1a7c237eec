"""user_embeddings: every user of the day's snapshot through the user tower, for scoring and for whoever else wants it.

`scored_from` is a hash of all that a user's list is made from but the items: who has the same one keeps the same list.
Overwrites the day; rows are sorted by user_id within files.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.build_histories import excluded
from jobs.cli.arguments import job_parser, open_lake, run
from jobs.config.loading import Config
from jobs.inference.embedding import open_towers, user_embeddings
from jobs.inference.references import model_reference
from jobs.lake import tables
from jobs.lake.file_layout import sorted_files
from jobs.lake.partitions import Lake
from jobs.lake.queries import query
from jobs.raw_log.encoding import pad
from model.features import columns


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def users_to_embed(lake: Lake, config: Config, ds: dt.date, inputs: Sequence[str]) -> DataFrame:
    """Every user known at the end of the day: what the tower reads, `is_cold`, `segment` and `scored_from`."""
    snapshot = lake.required_day(tables.user_snapshot(config), ds)
    frames = {"user_snapshot": snapshot, "user_histories": excluded(lake.day(tables.USER_HISTORIES, ds))}
    users = query(lake.spark, "user_embeddings/users", frames)
    users = users.withColumn("history", pad(F.col("clicks"), max(config.features.history_length, 1)))
    segment = config.scoring.segment
    users = users.withColumn("segment", F.col(segment) if segment else F.lit(0))
    read = dict.fromkeys([*inputs, "is_cold", "segment", "excluded"])
    nulls = [F.isnull(name) for name in read]  # a hash passes over them
    return users.withColumn("scored_from", F.xxhash64(*read, *nulls, F.lit(lists_of(config))))


def lists_of(config: Config) -> str:
    """All of the configuration that a list depends on."""
    return config.scoring.model_dump_json(exclude={"changed_only"}) + config.index.model_dump_json()


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_user_embeddings")
    ref = model_reference(lake, args.ds)
    users = users_to_embed(lake, config, args.ds, columns(open_towers(ref).spec.user))
    rows = user_embeddings(sorted_files(users, "user_id"), ref).withColumn("model_version", F.lit(ref.version))
    return lake.overwrite(tables.USER_EMBEDDINGS, args.ds, rows)


if __name__ == "__main__":
    run(main)
