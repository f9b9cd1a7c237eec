"""Which items may be shown: those that are available and not on the blocklist."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import hadoop_path
from jobs.lake.lake import Lake


def blocked_items(lake: Lake, config: Config) -> DataFrame:
    """The distinct item_ids of `exclusions.blocklist`; none if no file is configured.

    Raises ValueError if the configured file does not exist: a missing list is not treated as an empty one.
    """
    if not config.exclusions.blocklist:
        return lake.spark.createDataFrame([], "item_id string")
    return ids_from_file(lake, config.exclusions.blocklist, "item_id", "exclusions.blocklist")


def ids_from_file(lake: Lake, name: str, column: str, setting: str) -> DataFrame:
    """The distinct lines of a text file, trimmed, as `column`; `setting` names the key or argument for messages.

    Raises ValueError if the file does not exist, or has a name that Spark would skip or expand.
    """
    filesystem, path = hadoop_path(lake.spark, name)
    if not filesystem.isFile(path):
        raise ValueError(f"{setting} must be a text file, got {path.toString()}, which does not exist")
    if path.getName().startswith(("_", ".")) or set(path.toString()) & set("*?[]{}"):
        rule = "be a file whose name does not begin with '_' or '.' and whose path contains none of *?[]{}"
        raise ValueError(f"{setting} must {rule}, because Spark would skip or expand it, got {path.toString()}")
    lines = lake.spark.read.text(str(path.toString()))
    return lines.select(F.trim("value").alias(column)).where(F.col(column) != "").distinct()


def eligible_items(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's item_snapshot, with `available` false for blocked items."""
    items = lake.required_day(tables.item_snapshot(config), ds)
    if not config.exclusions.blocklist:
        return items
    blocked = blocked_items(lake, config).withColumn("_blocked", F.lit(True))
    joined = items.join(blocked, "item_id", "left")
    return joined.withColumn("available", F.col("available") & F.col("_blocked").isNull()).drop("_blocked")
