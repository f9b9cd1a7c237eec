"""Which items may be shown: those that are available and not on the blocklist; and which lists have less than that."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.files.ids import SHOWN_IDS, ids_from_file, some_of
from model.training.processes.lines import warn


def blocked_items(lake: Lake, config: Config) -> DataFrame:
    """The distinct item_ids of `exclusions.blocklist`; none if no file is configured.

    Raises ValueError if the configured file does not exist: a missing list is not treated as an empty one.
    """
    if not config.exclusions.blocklist:
        return lake.spark.createDataFrame([], "item_id string")
    return ids_from_file(lake.spark, config.exclusions.blocklist, "item_id", "exclusions.blocklist")


def warn_of_unknown_blocked_items(lake: Lake, config: Config, ds: dt.date) -> None:
    """Print how many ids of the blocklist match no item of the day, with some of them, if there are any."""
    if not config.exclusions.blocklist:
        return
    blocked = blocked_items(lake, config)
    unknown = blocked.join(lake.required_day(tables.item_snapshot(config), ds), "item_id", "left_anti")
    if count := unknown.count():
        shown = some_of([row.item_id for row in unknown.orderBy("item_id").limit(SHOWN_IDS + 1).collect()])
        total = f"{count:,} of {blocked.count():,} ids of exclusions.blocklist"
        warn(f"{total} match no item of {ds}, in this spelling: {shown}")


def eligible_items(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's item_snapshot, with `available` false for blocked items."""
    items = lake.required_day(tables.item_snapshot(config), ds)
    if not config.exclusions.blocklist:
        return items
    blocked = blocked_items(lake, config).withColumn("_blocked", F.lit(True))
    joined = items.join(blocked, "item_id", "left")
    return joined.withColumn("available", F.col("available") & F.col("_blocked").isNull()).drop("_blocked")


def short_lists(lake: Lake, config: Config, ds: dt.date, lists: DataFrame) -> DataFrame:
    """Rows (user_id, length, possible): the users whose list has less than K items, and how many it could have.

    lists: user_id and candidates of the day.
    """
    frames = {
        "candidates": lists,
        "item_snapshot": eligible_items(lake, config, ds),
        "user_histories": excluded_items(lake.day(tables.USER_HISTORIES, ds)),
    }
    return query(lake.spark, "candidates/short_lists", frames, k=config.scoring.candidates_per_user)
