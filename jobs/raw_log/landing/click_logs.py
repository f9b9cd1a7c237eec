"""Makes rows of the table clicks, and the impressions of a log that has only clicks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.lake.lake import Lake
from jobs.lake.tables import CLICKS, IMPRESSIONS


def impressions_of_clicks(clicks: DataFrame) -> dict[str, DataFrame]:
    """The raw tables of a log that has only clicks: each distinct click is also an impression, of the same time."""
    clicks = clicks.withColumn("impression_id", _id_of_click("clicked_at"))
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


def require_impressions_of_one_kind(lake: Lake, days: Sequence[dt.date], names: Collection[str]) -> None:
    """Raises ValueError if clicks that land alone would replace impressions that were shown, or the other way round.

    names: the raw tables of which files are given. Impressions alone would take those away that earlier clicks name.
    """
    if ("clicks" in names) == ("impressions" in names):
        return
    is_made = F.col("impression_id").eqNullSafe(_id_of_click("impressed_at"))
    is_other = ~is_made if "clicks" in names else is_made & (F.col("request_id") == F.col("impression_id"))
    row = lake.between(IMPRESSIONS, days[0], days[-1]).where(is_other).select("ds").first()
    if row is None:
        return
    were = "were not" if "clicks" in names else "were"
    raise ValueError(
        f"impressions and clicks of {row.ds} must land together: it has impressions that {were} made from clicks"
    )


def _id_of_click(time: str) -> Column:
    """The id of the impression that is made from a click. time: the column with the click's time."""
    return F.sha2(F.concat_ws("\x1f", "user_id", "item_id", F.unix_micros(time).cast("string")), 256)
