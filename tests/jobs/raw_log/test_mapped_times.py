"""Times of a mapping: numbers in a unit, and times without an offset in a time zone whose clocks change."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.config.mapping import TableMapping
from jobs.raw_log.mapping.expressions import checked, evaluated_in
from jobs.raw_log.mapping.table_mapping import FAULT, Mapped, Prepared, mapped, with_impression_id
from tests.jobs.raw_log.test_mapping import landed

TIMES = [
    ("1767607200", "s", "2026-01-05 10:00:00"), ("1767607200.25", "s", "2026-01-05 10:00:00.25"),
    ("1.7676072e9", "s", "2026-01-05 10:00:00"), ("1767607200123", "ms", "2026-01-05 10:00:00.123"),
    ("1767607200123456", "us", "2026-01-05 10:00:00.123456"), ("1767607200123456789", "ns", "2026-01-05 10:00:00.123456"),
]  # fmt: skip


def test_numbers_are_times_in_their_unit(spark: SparkSession) -> None:
    for text, unit, time in TIMES:
        rows = spark.createDataFrame([(text,)], "ts string")
        row = landed(rows, f'impressed_at={{column = "ts", unit = "{unit}"}}')[0]
        assert (str(row.impressed_at), row[FAULT]) == (time if "." not in time else time.ljust(26, "0"), None), text
    for kind in ("bigint", "double", "int", "decimal(20,3)"):
        rows = spark.createDataFrame([("1767607200",)], "ts string").selectExpr(f"cast(ts as {kind}) as ts")
        assert str(landed(rows, 'impressed_at={column = "ts", unit = "s"}')[0].impressed_at) == "2026-01-05 10:00:00"


def test_a_number_that_is_no_time_in_its_unit_is_refused(spark: SparkSession) -> None:
    texts = ["soon", "1e40", "1767607200", "nan", "", None]
    rows = spark.createDataFrame([(text,) for text in texts], "ts string").coalesce(1)
    reasons = [row[FAULT] for row in landed(rows, 'impressed_at={column = "ts", unit = "ms"}')]
    wrong = "impressed_at is not a number of ms"
    assert reasons == [wrong, wrong, "impressed_at is before 1990: is the unit ms right?", None, None, None]
    rows = spark.createDataFrame([("1767607200000",)], "ts string")
    (late,) = landed(rows, 'impressed_at={column = "ts", unit = "s"}')
    assert late[FAULT] == "impressed_at is after the year 9999: is the unit s right?"


def test_nan_is_no_number_because_pandas_writes_it_for_one_that_is_missing(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1767607200.0,), (float("nan"),), (float("inf"),)], "ts double").coalesce(1)
    got = landed(rows, 'impressed_at={column = "ts", unit = "s"}')
    assert [(row.impressed_at is None, row[FAULT]) for row in got] == [
        (False, None), (True, None), (True, "impressed_at is not a number of s"),
    ]  # fmt: skip


def test_made_ids_are_of_the_values_and_not_of_how_a_file_has_them(spark: SparkSession) -> None:
    schema = "user_id string, item_id string, impressed_at string, position string"
    texts = [("7", "a", f"2026-01-05 10:00:00.123{micros}", "1.0") for micros in ("100", "900", "900")]
    rows = spark.createDataFrame(texts, schema).coalesce(1)
    typed = "int(user_id) user_id, item_id, timestamp(impressed_at) impressed_at, int(double(position)) position"
    columns = [rows, rows.selectExpr(*typed.split(", "))]
    ids = [[row.impression_id for row in with_impression_id(mapped_as_it_is(each)).rows.collect()] for each in columns]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2  # microseconds count


def mapped_as_it_is(rows: DataFrame) -> Mapped:
    return mapped(Prepared(rows), TableMapping(), "mapping.impressions", rows.columns)


def test_times_without_an_offset_are_of_the_time_zone(spark: SparkSession) -> None:
    """Denmark's clocks: on 29 March 2026 02:00 to 03:00 is skipped, on 25 October 02:00 to 03:00 happens twice."""
    wanted = {
        "2026-01-05 10:00:00": "2026-01-05 09:00:00", "2026-07-05T10:00:00": "2026-07-05 08:00:00",
        "2026-03-29 02:30:00": "2026-03-29 01:30:00", "2026-10-25 02:30:00": "2026-10-25 00:30:00",
        "2026-10-25 02:30:00+01:00": "2026-10-25 01:30:00", "2026-10-25T02:30:00Z": "2026-10-25 02:30:00",
    }  # fmt: skip
    texts = spark.createDataFrame([(text,) for text in wanted], "t string").coalesce(1)
    plain = texts.where("t not like '%+01:00' and t not like '%Z'")
    with evaluated_in(spark, "Europe/Copenhagen"):
        read = texts.select(checked(texts, "key", "cast(t as timestamp)").value.alias("t"))
        formatted = "to_timestamp(replace(t, 'T', ' '), 'yyyy-MM-dd HH:mm:ss')"
        by_format = plain.select(checked(plain, "key", formatted).value.alias("t"))
        zoneless = plain.selectExpr("cast(t as timestamp_ntz) as t").selectExpr("cast(t as timestamp) as t")
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert [str(row.t) for row in read.collect()] == list(wanted.values())
    assert [str(row.t) for row in by_format.collect()] == list(wanted.values())[:4]
    assert [str(row.t) for row in zoneless.collect()] == list(wanted.values())[:4]


def test_a_time_zone_that_does_not_exist_is_refused(spark: SparkSession) -> None:
    with (
        pytest.raises(
            ValueError, match=r"mapping.time_zone must be the name of a time zone, .*, got 'Europe/Kopenhagen'"
        ),
        evaluated_in(spark, "Europe/Kopenhagen"),
    ):
        pass
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
