"""Encoding by a feature kind from outside the package."""

from __future__ import annotations

import math

import pytest
from pyspark.sql import SparkSession

from jobs.config.features import checked_feature
from jobs.lake import tables
from jobs.lake.tables.feature_types import encoded_type, raw_type
from jobs.raw_log.encoding import encode, feature_values
from model.features import Feature, FeatureSpec

INCOME = Feature("income", "tests.extensions.my_kind:LogNumber", dim=4)


def test_a_kind_from_outside_decides_types_encoding_and_input(spark: SparkSession) -> None:
    values = [0.0, 1.5, -1.0, math.nan, math.inf, None]
    rows = spark.createDataFrame(list(enumerate(values)), "user_id int, income double")
    assert rows.schema["income"].dataType == raw_type(INCOME)
    assert feature_values(rows, "user", [INCOME]) == []
    vocabularies = spark.createDataFrame([], tables.VOCABULARIES.schema)
    encoded = encode(rows, "user_id", "user", [INCOME], vocabularies)
    assert encoded.schema["income"].dataType == encoded_type(INCOME)
    found = {row.user_id: row.income for row in encoded.collect()}
    assert [found[user] for user in range(len(values))] == [0.0, pytest.approx(math.log1p(1.5)), None, None, None, None]
    assert FeatureSpec.declared(INCOME, "user") == FeatureSpec("income", INCOME.kind, 4, 1, "income", None)


@pytest.mark.parametrize(
    ("kind", "length", "message"),
    [
        ("numbr", 1, r"kind must be one of \['age', .*'numeric', 'recent_clicks', 'vector'\] or .*got 'numbr'"),
        ("vector", 1, "feature x of kind vector: length must be at least 2, got 1"),
        ("id", 2, "feature x of kind id: length must be 1, got 2"),
    ],
)
def test_a_kind_or_length_that_does_not_fit_is_refused(kind: str, length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_feature(Feature("x", kind, 4, length))
