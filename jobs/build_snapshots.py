"""item_snapshot and user_snapshot: every item and user known at the end of a day, their features encoded.

Yesterday's snapshot, overlaid with the rows of `items` and `users` that landed today and with ids that only the
interactions show. Overwrites the day of both tables.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.config import Feature
from jobs.common.encoding import ITEM_ID, USER_ID, encode


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def item_snapshot(
    landed: DataFrame, seen: DataFrame, previous: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]
) -> DataFrame:
    """Items (item_id, item_index, available, published_at, features): today's word counts, else yesterday's.

    An item that only `seen` (item_id) shows is available and has unknown features.
    """
    news = _news(landed, seen, previous, ITEM_ID).withColumn("available", F.coalesce("available", F.lit(True)))
    news = _numbered(encode(news, ITEM_ID, "item", features, vocabularies), ITEM_ID, "item_index", vocabularies)
    return previous.join(news, ITEM_ID, "left_anti").unionByName(news.select(previous.columns))


def user_snapshot(
    landed: DataFrame, seen: DataFrame, previous: DataFrame, vocabularies: DataFrame, features: Sequence[Feature], ds: dt.date
) -> DataFrame:
    """Users (user_id, user_index, first_seen, last_seen, features), as for items; `seen` are the day's user ids."""
    news = _news(landed, seen, previous, USER_ID)
    news = _numbered(encode(news, USER_ID, "user", features, vocabularies), USER_ID, "user_index", vocabularies)
    first = previous.select(USER_ID, F.col("first_seen").alias("_first"))
    news = news.join(first, USER_ID, "left").withColumn("first_seen", F.coalesce("_first", F.lit(ds)))
    news = news.withColumn("last_seen", F.lit(ds)).select(previous.columns)
    kept = previous.join(news, USER_ID, "left_anti")
    today = seen.select(USER_ID, F.lit(True).alias("_today")).distinct()
    kept = kept.join(today, USER_ID, "left").withColumn("last_seen", F.when(F.col("_today"), F.lit(ds)).otherwise(F.col("last_seen")))
    return kept.select(previous.columns).unionByName(news)


def _news(landed: DataFrame, seen: DataFrame, previous: DataFrame, key: str) -> DataFrame:
    """One raw row for each id that landed, and a bare one for each that is seen and not known."""
    once = Window.partitionBy(key).orderBy(F.xxhash64(*landed.columns))  # any of the copies, the same one on every run
    landed = landed.withColumn("_copy", F.row_number().over(once)).where("_copy = 1").drop("_copy")
    unknown = seen.select(key).distinct().join(landed, key, "left_anti").join(previous, key, "left_anti")
    return landed.unionByName(unknown, allowMissingColumns=True)


def _numbered(rows: DataFrame, key: str, index: str, vocabularies: DataFrame) -> DataFrame:
    numbers = vocabularies.where(F.col("feature") == key).select(F.col("value").alias(key), F.col("index").alias(index))
    return rows.join(numbers, key, "inner")


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_snapshots")
    back, vocabularies = config.log.state_lookback_days, lake.read(tables.VOCABULARIES)
    seen = lake.required_day(tables.INTERACTIONS, args.ds)

    table = tables.item_snapshot(config)
    items = lake.day(tables.items(config), args.ds).drop("ds")
    before = lake.latest_before(table, args.ds, back).drop("ds")
    rows = lake.overwrite(table, args.ds, item_snapshot(items, seen, before, vocabularies, config.features.item))

    table = tables.user_snapshot(config)
    users = lake.day(tables.users(config), args.ds).drop("ds")
    before = lake.latest_before(table, args.ds, back).drop("ds")
    features = config.features.user
    return rows + lake.overwrite(table, args.ds, user_snapshot(users, seen, before, vocabularies, features, args.ds))


if __name__ == "__main__":
    run(main)
