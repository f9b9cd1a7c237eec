"""Which numbers the towers standardise."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from jobs.training.model_spec import numeric_stats
from model.features import Feature

MY_KINDS = "tests.extensions.my_kind"


def test_only_kinds_that_say_so_are_read_without_a_scale(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(10.0, [1.0, 2.0], 5.0, 0.0), (20.0, [3.0, 2.0], 7.0, 9.0)],
        "ratio float, pair array<float>, age float, shares float",
    )
    features = [
        Feature("ratio", f"{MY_KINDS}:ClicksAWeek", 4),  # derived, and no logarithm
        Feature("pair", f"{MY_KINDS}:Shares", 4, length=2),
        Feature("age", "age", 4),
        Feature("shares", "recent_clicks", 4),
    ]
    assert numeric_stats(rows, features) == {
        "ratio": ([pytest.approx(15.0)], [pytest.approx(5.0)]),
        "pair": ([0.0, 0.0], [1.0, 1.0]),
        "age": ([0.0], [1.0]),
        "shares": ([0.0], [1.0]),
    }


def test_a_derived_kind_that_reads_recent_clicks_counts_them() -> None:
    kinds = {kind: Feature("x", kind, 4).counts_clicks for kind in ("age", "recent_clicks", f"{MY_KINDS}:ClicksAWeek")}
    assert kinds == {"age": False, "recent_clicks": True, f"{MY_KINDS}:ClicksAWeek": True}
