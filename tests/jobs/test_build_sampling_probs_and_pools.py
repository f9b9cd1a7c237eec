from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.build_item_counts import daily_item_counts
from jobs.build_negative_pools import unclicked_items
from jobs.build_sampling_probs import item_sampling_probs
from jobs.common import tables

DAY = dt.date(2026, 1, 5)
BEFORE = DAY - dt.timedelta(days=1)


@pytest.fixture
def counts(spark: SparkSession) -> DataFrame:
    """Clicked i2 and i3, unclicked i4 and i5; examples fewer than clicks, as after a cap."""
    rows = [
        (BEFORE, "i2", 2, 10, 6, 5), (DAY, "i2", 2, 4, 2, 1), (DAY, "i3", 3, 8, 2, 2), (BEFORE, "i4", 4, 30, 0, 0),
        (BEFORE, "i5", 5, 10, 0, 0), (DAY, "i5", 5, 7, 0, 0), (DAY, "i6", 6, 9, 0, 0),
    ]  # fmt: skip
    return spark.createDataFrame(rows, tables.DAILY_ITEM_COUNTS.schema)


def snapshot(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(f"i{n}", n) for n in range(2, 9)], "item_id string, item_index int")


def pool(spark: SparkSession, **exposures: int) -> DataFrame:
    return spark.createDataFrame(
        [(DAY, item, int(item[1:]), n) for item, n in exposures.items()], tables.UNCLICKED_ITEMS.schema
    )


def test_q_is_the_share_of_the_rows_that_are_trained_on(spark: SparkSession, counts: DataFrame) -> None:
    rows = {
        row.item_id: row
        for row in item_sampling_probs(counts, snapshot(spark), pool(spark, i4=30, i5=10), 0.0).collect()
    }
    assert set(rows) == {f"i{n}" for n in range(2, 9)}  # new items too, whom nobody saw
    assert (rows["i2"].q, rows["i3"].q, rows["i4"].q) == (6 / 8, 2 / 8, 0.0)
    assert (rows["i4"].p, rows["i5"].p, rows["i2"].p) == (0.75, 0.25, 0.0)
    assert all(row.u == pytest.approx(1 / 7, abs=1e-15) for row in rows.values())
    for column in ("q", "u", "p"):
        assert sum(row[column] for row in rows.values()) == pytest.approx(1, abs=1e-9)
    assert (rows["i2"].clicks, rows["i8"].clicks) == (8, 0)


def test_u_smooths_clicks_and_leaves_nobody_out(spark: SparkSession, counts: DataFrame) -> None:
    rows = {
        row.item_id: row.u for row in item_sampling_probs(counts, snapshot(spark), pool(spark, i4=1), 0.5).collect()
    }
    assert rows["i2"] / rows["i8"] == pytest.approx(9**0.5)
    assert min(rows.values()) > 0


def test_an_empty_pool_gives_zero_and_not_null(spark: SparkSession, counts: DataFrame) -> None:
    rows = item_sampling_probs(
        counts, snapshot(spark), spark.createDataFrame([], tables.UNCLICKED_ITEMS.schema), 0.0
    ).collect()
    assert {row.p for row in rows} == {0.0}


def test_only_exposures_whose_window_has_closed_count(spark: SparkSession, counts: DataFrame) -> None:
    """i6 was shown today alone: two of its exposures are of yesterday's evening and landed today, the others may yet be clicked."""
    late = dt.datetime.combine(BEFORE, dt.time(22), dt.UTC)
    today = dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    shown = [
        (DAY, f"{item}{n}", "r", "u", item, 1, time, False, None, None)
        for item, n, time in [("i6", 0, late), ("i6", 1, late), ("i6", 2, today), ("i5", 3, today)]
    ]
    interactions = spark.createDataFrame(shown, tables.INTERACTIONS.schema)
    found = {row.item_id: row.exposures for row in unclicked_items(counts, interactions, DAY, 24, 1).collect()}
    assert found == {"i4": 30, "i5": 10, "i6": 2}
    found = {row.item_id: row.exposures for row in unclicked_items(counts, interactions, DAY, 24, 10).collect()}
    assert found == {"i4": 30, "i5": 10}


def test_a_day_is_counted_once_whatever_repeats(spark: SparkSession) -> None:
    time = dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    shown = [
        (DAY, f"{n}", "r", "u", item, 1, time, clicked, time if clicked else None, None)
        for n, (item, clicked) in enumerate([("i2", True), ("i2", False), ("i3", False)])
    ]
    interactions = spark.createDataFrame(shown, tables.INTERACTIONS.schema)
    examples = spark.createDataFrame([("i2",)], "item_id string")
    vocabularies = spark.createDataFrame(
        [("item_id", "i2", 2, DAY), ("item_id", "i3", 3, DAY)], tables.VOCABULARIES.schema
    )
    rows = {row.item_id: tuple(row)[1:] for row in daily_item_counts(interactions, examples, vocabularies).collect()}
    assert rows == {"i2": (2, 2, 1, 1), "i3": (3, 1, 0, 0)}
