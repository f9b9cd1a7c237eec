"""item_snapshot and user_snapshot: every item and user known at the end of a day, their features encoded.

The snapshot before it, overlaid with the rows of `items` and `users` that landed since and with ids that only the day's
interactions show; users who were not seen for `log.user_retention_days` leave. Overwrites the day of both tables.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized
from jobs.raw_log.encoding import ITEM_ID, USER_ID, encode
from jobs.raw_log.landing import raw_tables
from model.features import Feature


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def news(landed: DataFrame, seen: DataFrame, previous: DataFrame, key: str) -> DataFrame:
    """One raw row for each id that landed, the newest, and a bare one for each that is `seen` and not known."""
    columns = [name for name in landed.columns if name != "ds"]
    # of the copies of a day any, but the same one on every run
    once = Window.partitionBy(key).orderBy(F.desc("ds"), F.xxhash64(*columns))
    landed = landed.withColumn("_copy", F.row_number().over(once)).where("_copy = 1").select(columns)
    unknown = seen.select(key).distinct().join(landed, key, "left_anti").join(previous, key, "left_anti")
    return landed.unionByName(unknown, allowMissingColumns=True)


def item_snapshot(
    news: DataFrame, previous: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]
) -> DataFrame:
    """Items (item_id, item_index, available, published_at, features): today's word counts, else yesterday's.

    An item that is only seen in interactions is available and has unknown features.
    """
    news = news.withColumn("available", F.coalesce("available", F.lit(True)))
    fresh = _numbered(encode(news, ITEM_ID, "item", features, vocabularies), ITEM_ID, "item_index", vocabularies)
    return previous.join(news, ITEM_ID, "left_anti").unionByName(fresh.select(previous.columns))


def user_snapshot(
    news: DataFrame,
    seen: DataFrame,
    previous: DataFrame,
    vocabularies: DataFrame,
    features: Sequence[Feature],
    ds: dt.date,
    seen_days: int,
) -> DataFrame:
    """Users (user_id, user_index, first_seen, last_seen, features) who were seen in the last `seen_days` days.

    A user is seen who is shown something or whose row lands; who left and comes back is new.
    """
    first = previous.select(USER_ID, "first_seen")
    fresh = _numbered(encode(news, USER_ID, "user", features, vocabularies), USER_ID, "user_index", vocabularies)
    fresh = fresh.join(first, USER_ID, "left").withColumn("first_seen", F.coalesce("first_seen", F.lit(ds)))
    fresh = fresh.withColumn("last_seen", F.lit(ds))
    today = seen.select(USER_ID).distinct().withColumn("_today", F.lit(ds))
    known = previous.join(news, USER_ID, "left_anti").join(today, USER_ID, "left")
    known = known.withColumn("last_seen", F.coalesce("_today", "last_seen"))
    known = known.where(F.col("last_seen") > F.lit(ds - dt.timedelta(days=seen_days)))
    return known.select(previous.columns).unionByName(fresh.select(previous.columns))


def _numbered(rows: DataFrame, key: str, index: str, vocabularies: DataFrame) -> DataFrame:
    numbers = vocabularies.where(F.col("feature") == key).select(F.col("value").alias(key), F.col("index").alias(index))
    return rows.join(numbers, key, "inner")


def build(lake: Lake, config: Config, ds: dt.date, side: str) -> int:
    """Build the day of one of the two snapshots; returns its rows."""
    key, table = f"{side}_id", {"item": tables.item_snapshot, "user": tables.user_snapshot}[side](config)
    vocabularies, seen = lake.read(tables.VOCABULARIES), lake.day(tables.INTERACTIONS, ds)
    last = lake.latest_day_before(table, ds, config.log.state_lookback_days)
    previous = lake.day(table, last or ds - dt.timedelta(days=1)).drop("ds")
    # what landed on a day without a snapshot, an empty one for instance, is news still
    days = (ds - last).days if last else config.log.state_lookback_days
    landed = lake.window(raw_tables(config)[f"{side}s"], ds, days)
    with materialized(news(landed, seen, previous, key)) as fresh:
        if side == "user":
            features, seen_days = config.features.user, config.log.user_retention_days
            snapshot = user_snapshot(fresh, seen, previous, vocabularies, features, ds, seen_days)
        elif fresh.isEmpty():
            snapshot = previous
        else:
            snapshot = item_snapshot(fresh, previous, vocabularies, config.features.item)
        return overwrite_checked(lake, table, ds, snapshot)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_snapshots")
    lake.required_day(tables.INTERACTIONS, args.ds)
    with ThreadPoolExecutor(2) as both:  # two tables that know nothing of each other
        return sum(both.map(lambda side: build(lake, config, args.ds, side), ("item", "user")))


if __name__ == "__main__":
    run(main)
