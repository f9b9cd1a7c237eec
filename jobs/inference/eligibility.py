"""Which items may be shown: those that are available, not on the blocklist and not too old; and which lists have less.

The age of an item is the days from the day of its `published_at`, in UTC, to the scored day. One without it is never
too old.
"""

from __future__ import annotations

import datetime as dt

import polars as pl
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.files.ids import SHOWN_IDS, ids_from_file, some_of
from model.training.processes.lines import say, warn


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
    """The day's item_snapshot, with `available` false for blocked items and for those that are too old."""
    items = with_age_limit(lake.required_day(tables.item_snapshot(config), ds), first_published(config, ds))
    if not config.exclusions.blocklist:
        return items
    blocked = blocked_items(lake, config).withColumn("_blocked", F.lit(True))
    joined = items.join(blocked, "item_id", "left")
    return joined.withColumn("available", F.col("available") & F.col("_blocked").isNull()).drop("_blocked")


def scored_items(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's item_snapshot, with `available` as it was for the day's lists, which the configuration does not say.

    The table item_embeddings says it; if it does not have the day, the snapshot does.
    """
    items = lake.required_day(tables.item_snapshot(config), ds)
    if not lake.has_day(tables.ITEM_EMBEDDINGS, ds):
        return items
    scored = lake.day(tables.ITEM_EMBEDDINGS, ds).select("item_id", F.col("available").alias("_eligible"))
    joined = items.join(scored, "item_id", "left")
    return joined.withColumn("available", F.coalesce("_eligible", F.lit(False))).drop("_eligible")


def first_published(config: Config, ds: dt.date) -> dt.date | None:
    """The first day on which an item may be published to be shown; None without `scoring.max_item_age_days`."""
    days = config.scoring.max_item_age_days
    return ds - dt.timedelta(days=days) if days else None


def with_age_limit(items: DataFrame, first: dt.date | None) -> DataFrame:
    """`items` with `available` false for those that were published before the day `first`."""
    return items if first is None else items.withColumn("available", F.col("available") & ~is_too_old(first))


def is_too_old(first: dt.date) -> Column:
    """Whether an item was published before the day `first`."""
    return F.coalesce(F.to_date("published_at") < F.lit(first), F.lit(False))


def too_old(first: dt.date) -> pl.Expr:
    """The same as `is_too_old` in a Polars frame."""
    return (pl.col("published_at").dt.date() < first).fill_null(value=False)


def count_too_old(lake: Lake, config: Config, ds: dt.date) -> tuple[int, int] | None:
    """(available items of the day that are too old, all available items); None without `scoring.max_item_age_days`.

    Reads the snapshot without Spark on a local disk.
    """
    first = first_published(config, ds)
    if first is None:
        return None
    old, total = 0, 0
    for batch in lake.batches(tables.item_snapshot(config), ds, ["available", "published_at"]):
        available = batch.filter("available")
        old, total = old + available.filter(too_old(first)).height, total + available.height
    return old, total


def report_too_old(lake: Lake, config: Config, ds: dt.date) -> None:
    """Print how many items are too old to be shown, if there is a limit."""
    if (counts := count_too_old(lake, config, ds)) is not None:
        old, total = counts
        days = config.scoring.max_item_age_days
        message = f"{old:,} of {total:,} available items are older than scoring.max_item_age_days ({days})"
        say(message, too_old=old, available=total)


def require_eligible(lake: Lake, config: Config, ds: dt.date) -> None:
    """Raises ValueError if `scoring.max_item_age_days` leaves no item; warns if it leaves fewer than a list has."""
    old, total = count_too_old(lake, config, ds) or (0, 0)
    if not old:
        return
    left, limit = total - old, f"scoring.max_item_age_days ({config.scoring.max_item_age_days})"
    if left and config.exclusions.blocklist:
        left = eligible_items(lake, config, ds).where("available").count()
        limit += " and exclusions.blocklist"
    wanted = config.scoring.candidates_per_user
    if not left:
        raise ValueError(
            f"{limit} must leave an item of {ds} to show, got none: {old:,} of {total:,} available items are too old"
        )
    if left < wanted:
        warn(f"{limit}: {left:,} items of {ds} may be shown, fewer than scoring.candidates_per_user ({wanted})")


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
