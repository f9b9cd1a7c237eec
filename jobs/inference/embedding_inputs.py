"""The users and the items of a day as inputs of the towers, and the other columns that scoring needs of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.days import day_end
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.encoding import pad
from model.features.kinds import ClickGaps


def users_to_embed(lake: Lake, config: Config, ds: dt.date, inputs: Sequence[str], calibration: str = "") -> DataFrame:
    """Every user known at the end of the day, with the columns `inputs`, `is_cold`, `segment` and `scored_from`.

    inputs: columns that the user tower reads; calibration: a hash of what the scores depend on.

    scored_from: a hash of everything a user's list depends on except the items, the towers, and how long ago its clicks
    were.
    """
    snapshot = lake.required_day(tables.user_snapshot(config), ds)
    frames = {"user_snapshot": snapshot, "user_histories": excluded_items(lake.day(tables.TIMED_USER_HISTORIES, ds))}
    users = query(lake.spark, "user_embeddings/users", frames, minute=int(day_end(ds).timestamp()) // 60)
    length = max(config.features.history_length, 1)
    gaps = pad(F.expr(ClickGaps().encoding("history_gaps", length)), length)
    users = users.withColumns({"history": pad(F.col("clicks"), length), "history_gaps": gaps})
    segment = config.scoring.segment_feature
    users = users.withColumn("segment", F.col(segment) if segment else F.lit(0))
    clicks = ["clicks"] if config.scoring.neighbour_quota else []  # whose neighbours are in the list
    # not the gaps, which change with each day, but the times of the clicks, which do not
    constant = ["clicked_minutes" if name == "history_gaps" else name for name in inputs]
    read = dict.fromkeys([*constant, *clicks, "is_cold", "segment", "excluded"])
    nulls = [F.isnull(name) for name in read]  # xxhash64 ignores nulls
    return users.withColumn("scored_from", F.xxhash64(*read, *nulls, F.lit(_list_configuration(config) + calibration)))


def _list_configuration(config: Config) -> str:
    """The configuration that a user's list depends on, as JSON."""
    neighbours = config.neighbours.model_dump_json() if config.scoring.neighbour_quota else ""
    return config.scoring.model_dump_json(exclude={"changed_users_only"}) + config.index.model_dump_json() + neighbours


def items_to_embed(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Every item of the day's snapshot: the inputs of the item tower, `available`, and whether it is `explored`.

    Items to explore are the available ones without a click in the training window, if `scoring.explore_quota` is set.
    """
    items = eligible_items(lake, config, ds)
    clicked = lake.required_day(tables.ITEM_SAMPLING_PROBS, ds).where("clicks > 0").select("item_id", "clicks")
    explored = F.lit(config.scoring.explore_quota > 0) & F.col("available") & F.col("clicks").isNull()
    return items.join(clicked, "item_id", "left").withColumn("explored", explored).drop("clicks")
