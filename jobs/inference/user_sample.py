"""The sample of users on which indexes are measured."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.search.candidate_lists import WIDER_BY_CAP
from model.search.tuning import Sample, sample_of


def sampled_users(lake: Lake, config: Config, ds: dt.date) -> Sample:
    """Some of the day's users who are not cold, the same ones on every run, with what is left out of their lists."""
    users = lake.required_day(tables.USER_EMBEDDINGS, ds).where("not is_cold")
    some = users.orderBy(F.xxhash64("user_id"), "user_id").limit(config.index.recall_sample_users)
    some = some.join(excluded_items(lake.day(tables.USER_HISTORIES, ds)), "user_id", "left")
    found = some.select("embedding", F.coalesce("excluded", F.array().cast("array<int>")).alias("excluded")).toArrow()
    wider = WIDER_BY_CAP if config.scoring.max_per_category else 1
    return sample_of(found, wider * config.scoring.candidates_per_user)
