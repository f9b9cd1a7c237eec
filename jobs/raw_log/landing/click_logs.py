"""Makes rows of the table clicks, and the impressions of a log that has only clicks."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.tables import CLICKS


def impressions_of_clicks(clicks: DataFrame) -> dict[str, DataFrame]:
    """The raw tables of a log that has only clicks: each distinct click is also an impression, of the same time."""
    identity = F.sha2(F.concat_ws("\x1f", "user_id", "item_id", F.unix_micros("clicked_at").cast("string")), 256)
    clicks = clicks.withColumn("impression_id", identity)
    impressions = clicks.select(
        "ds", "impression_id", F.col("impression_id").alias("request_id"), "user_id", "item_id",
        F.lit(None).cast("int").alias("position"), F.col("clicked_at").alias("impressed_at"),
    )  # fmt: skip
    return {"impressions": impressions.distinct(), "clicks": with_all_columns(clicks)}


def with_all_columns(clicks: DataFrame) -> DataFrame:
    """`clicks` with every column of the table clicks; a column that the file does not have is null."""
    return clicks.select(
        *(F.col(name) if name in clicks.columns else F.lit(None).cast("string").alias(name) for name in CLICKS.columns)
    )
