"""item_embeddings and the index: every item through the item tower, and the available ones ready to be searched.

What [index] build names is built and measured on a sample of the day's users: approximate indexes are searched with the
smallest search budget that finds `index.recall_target` of the exact lists. Overwrites the day of item_embeddings and of
item_indexes, which says which index is searched; the indexes lie under indexes/ in the lake.
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
from jobs.inference.eligibility import eligible_items
from jobs.inference.embedding import item_embeddings
from jobs.inference.indexes import put_indexes
from jobs.inference.references import model_reference
from jobs.lake import tables
from jobs.lake.partitions import Lake
from model.search.candidate_lists import WIDER_BY_CAP
from model.search.tuning import Sample, sample_of


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def items_to_embed(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Every item of the day's snapshot: what the tower reads, `available`, and whether it is `explored`."""
    items = eligible_items(lake, config, ds)
    clicked = lake.required_day(tables.ITEM_SAMPLING_PROBS, ds).where("clicks > 0").select("item_id", "clicks")
    explored = F.lit(config.scoring.explore_quota > 0) & F.col("available") & F.col("clicks").isNull()
    return items.join(clicked, "item_id", "left").withColumn("explored", explored).drop("clicks")


def sampled_users(lake: Lake, config: Config, ds: dt.date) -> Sample:
    """Some of the day's users who are not cold, the same ones on every run, with what is left out of their lists."""
    users = lake.required_day(tables.USER_EMBEDDINGS, ds).where("not is_cold")
    some = users.orderBy(F.xxhash64("user_id"), "user_id").limit(config.index.sample_users)
    some = some.join(excluded(lake.day(tables.USER_HISTORIES, ds)), "user_id", "left")
    found = some.select("embedding", F.coalesce("excluded", F.array().cast("array<int>")).alias("excluded")).toArrow()
    wider = WIDER_BY_CAP if config.scoring.category_cap else 1
    return sample_of(found, wider * config.scoring.candidates_per_user)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_index")
    ref = model_reference(lake, args.ds)
    sample = sampled_users(lake, config, args.ds)
    rows = item_embeddings(items_to_embed(lake, config, args.ds), ref).withColumn("model_version", F.lit(ref.version))
    count = lake.overwrite(tables.ITEM_EMBEDDINGS, args.ds, rows)
    lake.overwrite(tables.ITEM_INDEXES, args.ds, put_indexes(lake, config, args.ds, ref.version, sample))
    return count


if __name__ == "__main__":
    run(main)
