"""Clicks as the table clicks stores them, and logs of clicks alone, in which each click is its own impression."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.tables import CLICKS


def impressions_of_clicks(clicks: DataFrame) -> dict[str, DataFrame]:
    """The raw tables of a log of clicks alone: each distinct click is an impression clicked when shown."""
    identity = F.sha2(F.concat_ws("\x1f", "user_id", "item_id", F.unix_micros("clicked_at").cast("string")), 256)
    clicks = clicks.withColumn("impression_id", identity)
    impressions = clicks.select(
        "ds", "impression_id", F.col("impression_id").alias("request_id"), "user_id", "item_id",
        F.lit(None).cast("int").alias("position"), F.col("clicked_at").alias("impressed_at"),
    )  # fmt: skip
    return {"impressions": impressions.distinct(), "clicks": with_all_columns(clicks)}


def with_all_columns(clicks: DataFrame) -> DataFrame:
    """`clicks` with every column of the table; null where the file does not have it."""
    return clicks.select(
        *(F.col(name) if name in clicks.columns else F.lit(None).cast("string").alias(name) for name in CLICKS.columns)
    )
