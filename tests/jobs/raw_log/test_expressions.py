"""How an expression is read: texts that it compares with numbers, and the columns that it reads."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.raw_log.mapping.expressions import checked, evaluated_in

SCHEMA = "uid string, `Rating Value` string, rating string, n int, big bigint, items array<int>"


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("12", "2.5", "2.5", 1, 2**60, [7]), ("13", "4", "4", 3, 5, [8])], SCHEMA).coalesce(1)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("rating > 2", "double(rating) > 2"),
        ("RATING > 2 and rating is not null", "double(RATING) > 2 and rating is not null"),
        ("`Rating Value` >= 4", "double(`Rating Value`) >= 4"),
        ("rating between 0 and 3", "double(rating) between 0 and 3"),
        ("rating in (1, 2) or n > 2", "double(rating) in (1, 2) or n > 2"),
        ("rating > n", "double(rating) > n"),
        ("case when uid > 10 then concat('s-', uid) end", "case when double(uid) > 10 then concat('s-', uid) end"),
        ("uid + 1", "uid + 1"),
        ("cast(rating as int) > 2", "cast(rating as int) > 2"),
        ("int(rating) > 2", "int(rating) > 2"),
        ("uid = 'rating > 2'", "uid = 'rating > 2'"),
        ("uid = 1234567890123456789", "uid = 1234567890123456789"),  # exact as a whole number, rounded as a double
        ("uid > big", "uid > big"),
        ("exists(items, x -> x > 7)", "exists(items, x -> x > 7)"),
    ],
)
def test_a_text_is_a_number_only_where_it_is_compared_with_a_whole_number(
    rows: DataFrame, text: str, read: str
) -> None:
    """Spark would cast the text to a whole number: 2.5 fails, or becomes 2."""
    assert checked(rows, "key", text).text == read


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("nullif(uid, 0)", r"write double\(uid\) if it is one, or the number in quotes"),
        ("nullif(`Rating Value`, 0)", r"write double\(`Rating Value`\) if"),
        ("uid = 12345678901234567890", r"write cast\(uid as decimal\(38, 0\)\) if it is one"),
    ],
)
def test_a_text_that_would_change_its_value_is_refused(rows: DataFrame, text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"key must say whether the text .* is a number: {advice}"):
        checked(rows, "key", text)


def test_the_values_are_those_that_were_meant(rows: DataFrame, spark: SparkSession) -> None:
    with evaluated_in(spark, "UTC"):
        texts = ("rating > 2", "case when uid > 12 then concat('s-', uid) end", "`Rating Value` between 3 and 4")
        got = rows.select(*(checked(rows, "key", text).value for text in texts)).collect()
    assert list(map(tuple, got)) == [(True, None, False), (True, "s-13", True)]


def test_the_columns_that_an_expression_reads(rows: DataFrame) -> None:
    assert checked(rows, "key", "upper(UID) = 'rating' and rating between n and 3").reads == ("uid", "rating", "n")


@pytest.mark.parametrize(
    "text", ["uid = 'now()'", "uid = 'today'", "date_add(date'2026-01-01', n)", "date_trunc('day', to_date(uid))"]
)
def test_what_only_looks_like_the_current_time_is_accepted(rows: DataFrame, text: str) -> None:
    assert checked(rows, "key", text).reads
