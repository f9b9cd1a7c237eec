"""A file of events becomes impressions and clicks: each row is shown, clicked, both, or counted as neither."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.raw_log.mapping.events import impressions_and_clicks
from jobs.raw_log.mapping.table_mapping import FAULT
from tests.jobs.raw_log.test_mapping import FIELDS, config_with

CLICK_FIELDS = ["impression_id", "clicked_at", "reward"]


def events(spark: SparkSession, *assignments: str, by_item: bool = False, **more: Any) -> dict[str, list[Row]]:
    rows = spark.createDataFrame(
        [
            ("a", "x", "view", 1, "2026-01-05"),
            ("a", "x", "click", 1, "2026-01-06"),
            ("b", "x", "view", 0, "2026-01-05"),
        ],
        "user_id string, item_id string, event string, flag int, at string",
    ).coalesce(1)
    section = config_with(*(f"events.{text}" for text in ("impressed_at=at", *assignments))).events
    fields = ["user_id", "item_id", "clicked_at", "reward"] if by_item else CLICK_FIELDS
    tables = impressions_and_clicks(rows, section, FIELDS, fields, **more)
    return {name: table.rows.collect() for name, table in tables.items()}


def test_events_with_a_flag_are_shown_and_perhaps_clicked(spark: SparkSession) -> None:
    got = events(spark, "shown=true", "clicked=flag = 1")
    ids = [row.impression_id for row in got["impressions"]]
    assert len(set(ids)) == 3
    assert [(row.impression_id, row.clicked_at) for row in got["clicks"]] == [
        (ids[0], "2026-01-05"),
        (ids[1], "2026-01-06"),
    ]
    assert ids == [row.impression_id for row in events(spark, "shown=true", "clicked=flag = 1")["impressions"]]


def test_events_with_a_type_are_shown_or_clicked(spark: SparkSession) -> None:
    conditions = ("shown=event = 'view'", "clicked=event = 'click'")
    got = events(spark, *conditions, by_item=True)
    assert [(row.user_id, row.impressed_at) for row in got["impressions"]] == [("a", "2026-01-05"), ("b", "2026-01-05")]
    assert [(row.user_id, row.item_id, row.clicked_at) for row in got["clicks"]] == [("a", "x", "2026-01-06")]
    with pytest.raises(ValueError, match="impression_id must be mapped where a click is a row of its own"):
        events(spark, *conditions)
    got = events(spark, *conditions, "impression_id=concat(user_id, item_id)")
    assert [row.impression_id for row in got["clicks"]] == ["ax"]


def test_a_value_of_clicks_that_cannot_be_read_refuses_only_the_click(spark: SparkSession) -> None:
    broken = ("reward=try_cast(event as double)", 'clicked_at={column = "at", unit = "s"}')
    got = events(spark, "shown=true", "clicked=true", *broken)
    assert [FAULT in got["impressions"][0].asDict(), len(got["impressions"])] == [False, 3]
    assert {row[FAULT] for row in got["clicks"]} == {"reward cannot be computed from event"}
    broken = ("request_id=try_cast(event as double)",)
    got = events(spark, "shown=true", "clicked=true", *broken)  # of which the click's impression would have its id
    assert {row[FAULT] for name in got for row in got[name]} == {"request_id cannot be computed from event"}


def test_events_that_are_neither_shown_nor_clicked_are_left_out(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", "view"), ("a", "clck"), ("b", None)], "user_id string, event string")
    rows = rows.withColumns({"item_id": F.lit("x"), "impressed_at": F.lit("2026-01-05"), "impression_id": F.lit("i")})
    conditions = ("shown=event = 'view'", "clicked=event = 'click'", "where=user_id = 'a'")
    section = config_with(*(f"events.{text}" for text in conditions)).events
    left_out = impressions_and_clicks(rows, section, FIELDS, CLICK_FIELDS)["impressions"].left_out
    assert {condition: rows.count() for condition, rows in left_out.items()} == {
        "mapping.events.where": 1, "mapping.events.shown or clicked": 1,
    }  # fmt: skip


def test_events_must_say_which_rows_are_impressions(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match=r"mapping.events.shown must say which rows are impressions, as in"):
        events(spark, "clicked=flag = 1")


def test_a_condition_that_cannot_be_read_refuses_the_row_in_its_table(spark: SparkSession) -> None:
    section = config_with("events.shown=true", "events.clicked=try_cast(n as int) >= 4").events
    rows = spark.createDataFrame(
        [("a", "5"), ("b", "four"), ("c", "1"), ("d", None)], "user_id string, n string"
    ).coalesce(1)
    rows = rows.withColumns({"item_id": F.lit("x"), "impressed_at": F.lit("2026-01-05")})
    got = impressions_and_clicks(rows, section, FIELDS, CLICK_FIELDS)
    assert got["impressions"].faults == ()
    assert [row[FAULT] for row in got["clicks"].rows.collect()] == [
        None, "mapping.events.clicked cannot be computed from n",
    ]  # fmt: skip
