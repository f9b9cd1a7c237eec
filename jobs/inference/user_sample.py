"""The sample of users on which the indexes are measured."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.search.lists.candidate_lists import CAP_WIDTH_FACTOR
from model.search.tuning import Sample, sample_from


def sampled_users(lake: Lake, config: Config, ds: dt.date) -> Sample:
    """Some of the day's warm users with their excluded items, drawn by a hash of user_id: the same on every run."""
    users = lake.required_day(tables.USER_EMBEDDINGS, ds).where("not is_cold")
    some = users.orderBy(F.xxhash64("user_id"), "user_id").limit(config.index.recall_sample_users)
    some = some.join(excluded_items(lake.day(tables.USER_HISTORIES, ds)), "user_id", "left")
    excluded = F.coalesce("excluded", F.array().cast("array<int>")).alias("excluded")
    factor = CAP_WIDTH_FACTOR if config.scoring.max_per_category else 1
    return sample_from(some.select("embedding", excluded).toArrow(), factor * config.scoring.candidates_per_user)
