"""Head, middle and tail by SQL and by NumPy follow the same rule, also for items with equal clicks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.inference.item_slices import ITEM_SLICES, with_slices
from jobs.lake.queries import query
from model.metrics import popularity_slices

COUNTS = {
    "ties at both borders": [9, 9, 9, 3, 3, 3, 3, 1, 1, 1, 0, 0],
    "all equal": [2] * 10,
    "no clicks": [0, 0],
    "random": np.random.default_rng(5).zipf(1.6, 200).clip(max=40).tolist() + [0] * 20,
}


@pytest.mark.parametrize("shares", [(0.5, 0.3), (0.1, 0.2), (0.0, 1.0)])
def test_both_rules_give_the_same_slices(spark: SparkSession, shares: tuple[float, float]) -> None:
    for name, counts in COUNTS.items():
        rows = [(f"i{index}", index, clicks) for index, clicks in enumerate(counts)]
        frame = spark.createDataFrame(rows, "item_id string, item_index int, clicks bigint").coalesce(1)
        given = {"head_share": shares[0], "middle_share": shares[1]}
        found = query(spark, "evaluation/item_slices", {"item_sampling_probs": frame}, **given).collect()
        by_sql = [row.slice for row in sorted(found, key=lambda row: row.item_index)]
        by_numpy = [ITEM_SLICES[number] for number in popularity_slices(np.array(counts), *shares)]
        assert by_sql == by_numpy, name
        items = pl.DataFrame(rows, ["item_id", "item_index", "clicks"], orient="row")
        assert with_slices(items, *shares)["slice"].to_list() == by_sql, name
