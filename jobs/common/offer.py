"""Which items may be shown: those that are available and that nobody has blocked."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.artifacts import hadoop
from jobs.common.config import Config
from jobs.common.partitions import Lake


def blocked_items(lake: Lake, config: Config) -> DataFrame:
    """The item_ids of the blocklist, each once.

    Raises ValueError where the file that the configuration names is not there: no list is not an empty one.
    """
    name = config.exclusions.blocklist
    if not name:
        return lake.spark.createDataFrame([], "item_id string")
    filesystem, path = hadoop(lake.spark, name)
    if not filesystem.isFile(path):
        raise ValueError(f"exclusions.blocklist wants a text file, and there is none at {path.toString()}")
    lines = lake.spark.read.text(str(path.toString()))
    return lines.select(F.trim("value").alias("item_id")).where("item_id != ''").distinct()


def offered_items(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's item_snapshot, in which what is blocked is not available."""
    items = lake.required_day(tables.item_snapshot(config), ds)
    if not config.exclusions.blocklist:
        return items
    blocked = blocked_items(lake, config).withColumn("_blocked", F.lit(True))
    joined = items.join(blocked, "item_id", "left")
    offered = joined.withColumn("available", F.col("available") & F.col("_blocked").isNull())
    return offered.drop("_blocked")
