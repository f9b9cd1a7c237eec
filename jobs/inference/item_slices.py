"""Head, middle and tail: the slices of the catalogue by the clicks of the training window."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query

ITEM_SLICES = ("head", "middle", "tail")


def item_slices(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Rows (item_id, item_index, clicks, slice), one for each item known on `ds`; `slice` is one of ITEM_SLICES."""
    shares = {"head_share": config.evaluation.head_click_share, "middle_share": config.evaluation.middle_click_share}
    probabilities = lake.required_day(tables.ITEM_SAMPLING_PROBS, ds)
    return query(lake.spark, "evaluation/item_slices", {"item_sampling_probs": probabilities}, **shares)
