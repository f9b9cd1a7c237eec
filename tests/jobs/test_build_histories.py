"""What user_histories keeps of the clicks of many days."""

from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.build_histories import user_histories
from jobs.config.sections import Exclusions
from jobs.inference.exclusions import DAYS_APART, excluded_items
from jobs.lake import tables

DAY = dt.date(2026, 3, 1)
OLD = DAY - dt.timedelta(days=DAYS_APART)  # the last day that is merged
EVER = Exclusions(clicked="ever", max_old_items=0, blocklist="")
Clicked = list[tuple[dt.date, list[int]]]


def days_before(days: int, of: dt.date = OLD) -> dt.date:
    return of - dt.timedelta(days=days)


def after_a_day(
    spark: SparkSession, clicked: dict[str, Clicked], exclusions: Exclusions = EVER, day: dt.date = DAY
) -> dict[str, Clicked]:
    """`clicked` of users who do not click on the day, by their rows of the day before; checks what they exclude."""
    rows = [(days_before(1, day), user, [2], days, None) for user, days in clicked.items()]
    users = spark.createDataFrame([(user,) for user in clicked], "user_id string")
    before, clicks, vocabularies = (
        spark.createDataFrame(made, table.schema)
        for made, table in ((rows, tables.TIMED_USER_HISTORIES), ([], tables.INTERACTIONS), ([], tables.VOCABULARIES))
    )
    made = user_histories(clicks, before, users, vocabularies, day, 5, exclusions).withColumn("ds", F.lit(day))
    found = made.join(excluded_items(made).select("user_id", "excluded"), "user_id").collect()
    after = {row.user_id: [(ds, list(items)) for ds, items in row.clicked] for row in found}
    for row in found:
        assert row.excluded == sorted({item for _, items in after[row.user_id] for item in items})
    return after


def test_old_days_are_merged_into_their_distinct_items_of_which_the_last_clicked_is_last(spark: SparkSession) -> None:
    recent = [(days_before(-1), [4]), (DAY, [6])]
    clicked = {
        "many": [(days_before(9), [5, 9]), (days_before(3), [4, 7]), (OLD, [5, 8]), *recent],
        "merged": [(days_before(1), [9, 4]), *recent],
        "recent": recent,
    }
    assert after_a_day(spark, clicked) == {**clicked, "many": [(OLD, [9, 4, 7, 5, 8]), *recent]}
    tomorrow = DAY + dt.timedelta(days=1)
    assert after_a_day(spark, clicked, day=tomorrow) == {
        "many": [(days_before(-1), [9, 7, 5, 8, 4]), (DAY, [6])],
        "merged": [(days_before(-1), [9, 4]), (DAY, [6])],
        "recent": recent,
    }


def test_of_old_items_the_ones_that_were_clicked_last_are_kept(spark: SparkSession) -> None:
    today = (DAY, [2, 3, 4])
    clicked = {"u": [(days_before(2), [5, 9]), (OLD, [6, 9, 8]), today], "few": [(OLD, [7, 6]), today]}
    bounded = EVER.model_copy(update={"max_old_items": 2})
    assert after_a_day(spark, clicked, bounded) == {"u": [(OLD, [9, 8]), today], "few": [(OLD, [7, 6]), today]}


@pytest.mark.parametrize(("rule", "kept"), [(DAYS_APART + 3, 3), (DAYS_APART, 1), ("never", 0)])
def test_a_number_of_days_is_kept_day_by_day(spark: SparkSession, rule: str | int, kept: int) -> None:
    """A row that was merged under "ever" counts as clicked on its last day."""
    clicked = [(days_before(9), [5]), (days_before(2), [6]), (OLD, [5, 7]), (DAY, [5, 8])]
    exclusions = EVER.model_copy(update={"clicked": rule, "max_old_items": 1})
    merged = [(days_before(2), [9, 4, 3]), (DAY, [8])]
    expected = {"u": clicked[4 - kept :], "merged": merged[2 - min(kept, 2) :]}
    assert after_a_day(spark, {"u": clicked, "merged": merged}, exclusions) == expected
