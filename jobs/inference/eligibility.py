"""Which items may be shown: those that are available and that nobody has blocked."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import hadoop_path
from jobs.lake.lake import Lake


def blocked_items(lake: Lake, config: Config) -> DataFrame:
    """The item_ids of the blocklist, each once.

    Raises ValueError where the file that the configuration names is not there: no list is not an empty one.
    """
    if not config.exclusions.blocklist:
        return lake.spark.createDataFrame([], "item_id string")
    return ids_of_file(lake, config.exclusions.blocklist, "item_id", "exclusions.blocklist")


def ids_of_file(lake: Lake, name: str, column: str, wanted_by: str) -> DataFrame:
    """The lines of a text file, trimmed, each once, as `column`.

    Raises ValueError where there is no such file, or Spark would not read it for its name.
    """
    filesystem, path = hadoop_path(lake.spark, name)
    if not filesystem.isFile(path):
        raise ValueError(f"{wanted_by} wants a text file, and there is none at {path.toString()}")
    if path.getName().startswith(("_", ".")) or set(path.toString()) & set("*?[]{}"):
        wanted = "a name that does not begin with '_' or '.' and a path without any of *?[]{}"
        raise ValueError(f"{wanted_by} wants {wanted}, which Spark would pass over or expand, got {path.toString()}")
    lines = lake.spark.read.text(str(path.toString()))
    return lines.select(F.trim("value").alias(column)).where(F.col(column) != "").distinct()


def eligible_items(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's item_snapshot, in which what is blocked is not available."""
    items = lake.required_day(tables.item_snapshot(config), ds)
    if not config.exclusions.blocklist:
        return items
    blocked = blocked_items(lake, config).withColumn("_blocked", F.lit(True))
    joined = items.join(blocked, "item_id", "left")
    offered = joined.withColumn("available", F.col("available") & F.col("_blocked").isNull())
    return offered.drop("_blocked")
