"""Times of a mapping: numbers in a unit, and times without an offset in a time zone whose clocks change."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from jobs.raw_log.mapping.expressions import checked, evaluated_in
from jobs.raw_log.mapping.table_mapping import FAULT
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
    assert reasons == [wrong, wrong, "impressed_at is before 1990: is the unit ms right?", wrong, None, None]


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
