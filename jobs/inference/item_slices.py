"""Head, middle and tail: the slices of the catalogue by the clicks of the training window."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from model.metrics import popularity_slices

ITEM_SLICES = ("head", "middle", "tail")


def item_slices(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Rows (item_id, item_index, clicks, slice), one for each item known on `ds`; `slice` is one of ITEM_SLICES."""
    shares = {"head_share": config.evaluation.head_click_share, "middle_share": config.evaluation.middle_click_share}
    probabilities = lake.required_day(tables.ITEM_SAMPLING_PROBS, ds)
    return query(lake.spark, "evaluation/item_slices", {"item_sampling_probs": probabilities}, **shares)


def item_slices_without_spark(lake: Lake, config: Config, ds: dt.date) -> pl.DataFrame:
    """The same rows, in memory of this process: about 100 bytes per item."""
    lake.require_day(tables.ITEM_SAMPLING_PROBS, ds)
    columns = ["item_id", "item_index", "clicks"]
    items = pl.concat(batch.select(columns) for batch in lake.batches(tables.ITEM_SAMPLING_PROBS, ds, columns))
    return with_slices(items, config.evaluation.head_click_share, config.evaluation.middle_click_share)


def with_slices(items: pl.DataFrame, head_share: float, middle_share: float) -> pl.DataFrame:
    """Items (with a column `clicks`) with their `slice`, by the rule of sql/evaluation/item_slices.sql."""
    slices = popularity_slices(items["clicks"].to_numpy(), head_share, middle_share)  # int8 [I]
    return items.with_columns(slice=pl.Series(np.array(ITEM_SLICES, dtype=object)[slices], dtype=pl.String))
