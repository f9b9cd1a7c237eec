"""What the towers read: every user and every item of a day, with the columns that scoring needs beside them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.encoding import pad


def users_to_embed(lake: Lake, config: Config, ds: dt.date, inputs: Sequence[str]) -> DataFrame:
    """Every user known at the end of the day: what the tower reads, `is_cold`, `segment` and `scored_from`."""
    snapshot = lake.required_day(tables.user_snapshot(config), ds)
    frames = {"user_snapshot": snapshot, "user_histories": excluded_items(lake.day(tables.USER_HISTORIES, ds))}
    users = query(lake.spark, "user_embeddings/users", frames)
    users = users.withColumn("history", pad(F.col("clicks"), max(config.features.history_length, 1)))
    segment = config.scoring.segment_feature
    users = users.withColumn("segment", F.col(segment) if segment else F.lit(0))
    read = dict.fromkeys([*inputs, "is_cold", "segment", "excluded"])
    nulls = [F.isnull(name) for name in read]  # a hash passes over them
    return users.withColumn("scored_from", F.xxhash64(*read, *nulls, F.lit(lists_of(config))))


def lists_of(config: Config) -> str:
    """All of the configuration that a list depends on."""
    return config.scoring.model_dump_json(exclude={"changed_users_only"}) + config.index.model_dump_json()


def items_to_embed(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Every item of the day's snapshot: what the tower reads, `available`, and whether it is `explored`."""
    items = eligible_items(lake, config, ds)
    clicked = lake.required_day(tables.ITEM_SAMPLING_PROBS, ds).where("clicks > 0").select("item_id", "clicks")
    explored = F.lit(config.scoring.explore_quota > 0) & F.col("available") & F.col("clicks").isNull()
    return items.join(clicked, "item_id", "left").withColumn("explored", explored).drop("clicks")
