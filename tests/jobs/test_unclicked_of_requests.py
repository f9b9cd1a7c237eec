"""The columns of training_examples about an example's request: `unclicked` and `outcome_final_at`."""

from __future__ import annotations

import datetime as dt
import time

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs import build_interactions
from jobs.build_training_examples import training_examples
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.encoding import union
from tests.jobs.test_build_training_examples import DAY, FEATURES, SETTINGS, minute

Shown = tuple[str, int | None, bool]  # item, position, clicked


def request(spark: SparkSession, *shown: Shown, request_id: str | None = "r", user: str = "u1", start: int = 0, window_hours: int = 24) -> DataFrame:  # fmt: skip
    """interactions of one request, a minute apart; impression ids are request, number and item: r-0-i2."""
    rows = [
        (DAY, f"{request_id}-{number}-{item}", request_id, user, item, position, minute(start + number), clicked, minute(start + number) if clicked else None, None, minute(start + number) + dt.timedelta(hours=window_hours), True)
        for number, (item, position, clicked) in enumerate(shown)
    ]  # fmt: skip
    return spark.createDataFrame(rows, tables.INTERACTIONS.schema)


@pytest.fixture
def vocabularies(spark: SparkSession) -> DataFrame:
    rows = [("item_id", f"i{n}", n, DAY) for n in range(2, 12)]
    return spark.createDataFrame(rows, tables.VOCABULARIES.schema)


def built(interactions: DataFrame, vocabularies: DataFrame, length: int = 4) -> DataFrame:
    spark = interactions.sparkSession
    users = spark.createDataFrame([("u1", 2, 30.0), ("u2", 3, 40.0)], "user_id string, user_index int, age float")
    histories = spark.createDataFrame([], tables.TIMED_USER_HISTORIES.schema)
    return training_examples(
        interactions,
        histories,
        users,
        users,
        vocabularies,
        FEATURES,
        SETTINGS.model_copy(update={"unclicked_per_example": length, "max_per_user": 0}),
    )


def epoch(number: int, hours: int) -> int:
    return int((minute(number) + dt.timedelta(hours=hours)).timestamp())


def unclicked(interactions: DataFrame, vocabularies: DataFrame, length: int = 4) -> dict[str, list[int]]:
    return {row.impression_id: row.unclicked for row in built(interactions, vocabularies, length).collect()}


def test_unclicked_items_of_the_request_are_padded_at_the_end(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", 1, False), ("i3", 2, True), ("i4", 3, False))
    assert unclicked(shown, vocabularies) == {"r-1-i3": [2, 4, 0, 0]}
    assert unclicked(shown, vocabularies, 0) == {"r-1-i3": []}


def test_the_nearest_positions_are_kept_those_above_the_click_first(
    spark: SparkSession, vocabularies: DataFrame
) -> None:
    places = [(f"i{n}", n, n in (5, 11)) for n in range(2, 12)]
    shown = request(spark, *reversed(places))  # in whatever order the log has them
    assert unclicked(shown, vocabularies, 5) == {"r-6-i5": [4, 6, 3, 7, 2], "r-0-i11": [10, 9, 8, 7, 6]}
    assert unclicked(shown, vocabularies, 1) == {"r-6-i5": [4], "r-0-i11": [10]}


def test_at_equal_positions_the_smaller_indices_are_kept(spark: SparkSession, vocabularies: DataFrame) -> None:
    """More impressions share a position than fit into the list: above, below and at the position of the click."""
    above = request(spark, *((f"i{n}", 1, False) for n in (4, 2, 3, 5)), ("i6", 2, True))
    below = request(spark, *((f"i{n}", 3, False) for n in (4, 2, 3, 5)), ("i6", 2, True), request_id="s")
    beside = request(spark, *((f"i{n}", 2, False) for n in (8, 2, 7, 5)), ("i6", 2, True), request_id="t")
    found = unclicked(above.union(below).union(beside), vocabularies, 2)
    assert found == {"r-4-i6": [2, 3], "s-4-i6": [2, 3], "t-4-i6": [2, 5]}


def test_impressions_without_a_position_come_last(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", None, False), ("i9", 90, False), ("i5", 1, True), ("i4", None, False))
    assert unclicked(shown, vocabularies, 3) == {"r-2-i5": [9, 2, 4]}
    assert unclicked(shown, vocabularies, 2) == {"r-2-i5": [9, 2]}


def test_a_click_without_a_position_counts_as_above_all_positions(spark: SparkSession, vocabularies: DataFrame) -> None:
    known = request(spark, ("i2", None, False), ("i4", 2, False), ("i3", -7, False), ("i5", None, True))
    unknown = request(spark, *((f"i{n}", None, n == 4) for n in (5, 4, 3, 2)), request_id="s")
    found = unclicked(known.union(unknown), vocabularies, 2)
    assert found == {"r-3-i5": [3, 4], "s-1-i4": [2, 3]}


def test_extreme_positions_do_not_overflow(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", -(2**31), False), ("i3", 2**31 - 1, True), ("i4", 0, False))
    assert unclicked(shown, vocabularies) == {"r-1-i3": [4, 2, 0, 0]}


def test_a_repeated_item_is_listed_once_at_its_nearest_position(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", 1, False), ("i3", 3, False), ("i4", 4, True), ("i2", 5, False), ("i5", 6, False))
    assert unclicked(shown, vocabularies) == {"r-2-i4": [3, 2, 5, 0]}


def test_an_item_that_was_clicked_under_any_impression_is_not_unclicked(
    spark: SparkSession, vocabularies: DataFrame
) -> None:
    """i2 was shown twice and clicked once; i3 is the other click's own item."""
    shown = request(spark, ("i2", 1, False), ("i3", 2, True), ("i2", 3, True), ("i4", 4, False))
    assert unclicked(shown, vocabularies) == {"r-1-i3": [4, 0, 0, 0], "r-2-i2": [4, 0, 0, 0]}


def test_other_requests_and_other_users_are_left_out(spark: SparkSession, vocabularies: DataFrame) -> None:
    own = request(spark, ("i2", 1, True), ("i3", 2, False))
    other_request = request(spark, ("i4", 1, False), ("i3", 2, True), request_id="s", start=10)
    other_user = request(spark, ("i5", 1, False), user="u2", start=20)
    found = built(own.union(other_request).union(other_user), vocabularies, 2).collect()
    assert {row.impression_id: row.unclicked for row in found} == {"r-0-i2": [3, 0], "s-1-i3": [4, 0]}
    final = {row.impression_id: row.outcome_final_at for row in found}
    assert final == {"r-0-i2": epoch(1, 24), "s-1-i3": epoch(11, 24)}


def test_an_item_without_an_index_is_left_out(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", 1, True), ("new", 2, False), ("i4", 3, False))
    assert unclicked(shown, vocabularies) == {"r-0-i2": [4, 0, 0, 0]}


@pytest.mark.parametrize("missing", [None, ""])
def test_an_impression_without_a_request_has_an_empty_list(
    spark: SparkSession, vocabularies: DataFrame, missing: str | None
) -> None:
    shown = request(spark, ("i2", 1, True), ("i3", 2, False), ("i4", 3, True), request_id=missing)
    rows = built(shown, vocabularies, 2).orderBy("item_id").collect()
    assert [row.unclicked for row in rows] == [[0, 0], [0, 0]]
    assert [row.outcome_final_at for row in rows] == [epoch(0, 24), epoch(2, 24)]


def test_the_outcome_is_final_when_the_last_window_of_the_request_closes(
    spark: SparkSession, vocabularies: DataFrame
) -> None:
    """The last impression is an item without an index: it may be clicked all the same. Parts of a second round up."""
    shown = request(spark, ("i2", 1, True), ("i3", 2, False), ("new", 3, False), window_hours=36)
    (row,) = built(shown, vocabularies).collect()
    assert row.outcome_final_at == epoch(2, 36)
    later = shown.withColumn("outcome_final_at", F.expr("outcome_final_at + interval 1 microsecond"))
    (row,) = built(later, vocabularies).collect()
    assert row.outcome_final_at == epoch(2, 36) + 1


def test_what_was_not_examined_is_not_on_the_list(spark: SparkSession, vocabularies: DataFrame) -> None:
    shown = request(spark, ("i2", 1, False), ("i3", 2, True), ("i4", 3, False))
    seen = shown.withColumn("examined", F.col("position") < 3)
    assert unclicked(seen, vocabularies) == {"r-1-i3": [2, 0, 0, 0]}


def test_lists_equal_those_computed_from_the_whole_request(spark: SparkSession) -> None:
    """The job reads only a bounded part of a request; each list equals one that is sorted from the whole request."""
    random = np.random.default_rng(5)
    vocabulary = spark.createDataFrame(
        [("item_id", f"i{n}", n, DAY) for n in range(2, 302)], tables.VOCABULARIES.schema
    )
    shown, wanted = [], {}
    for number in range(12):
        indices = random.permutation(np.arange(2, 302))[: random.integers(1, 60)]
        spread = int(random.choice([5, 30, 1_000]))
        places = [None if random.random() < 0.2 else int(place) for place in random.integers(1, spread, len(indices))]
        clicked = random.random(len(indices)) < random.choice([0.1, 0.5, 0.9])
        rows = list(zip(indices.tolist(), places, clicked.tolist(), strict=True))
        shown.append(
            request(spark, *((f"i{index}", place, click) for index, place, click in rows), request_id=f"r{number}")
        )
        left = [(index, place) for index, place, click in rows if not click]
        for order, (index, place, click) in enumerate(rows):
            if click:
                nearest = sorted(left, key=lambda other, at=place: distance(other, at))
                wanted[f"r{number}-{order}-i{index}"] = ([index for index, _ in nearest] + [0] * 4)[:4]
    assert len(wanted) > 100
    assert unclicked(union(shown), vocabulary) == wanted


def distance(other: tuple[int, int | None], place: int | None) -> tuple[bool, float, bool, int]:
    """The sort key of the other items of a request, as the rule defines it."""
    index, shown = other
    if shown is None:
        return True, 0, False, index
    return False, shown if place is None else abs(shown - place), place is not None and shown > place, index


def test_the_cost_of_a_huge_request_is_linear_in_its_length(spark: SparkSession) -> None:
    """100,000 impressions, every other one clicked: pairs of the two would be 2.5 billion."""
    count = 100_000
    shown = spark.range(count).selectExpr(
        f"DATE'{DAY}' as ds", "string(id) as impression_id", "'r' as request_id", "'u1' as user_id", "concat('i', id + 2) as item_id",
        "int(id) as position", f"TIMESTAMP'{DAY} 00:00:00' as impressed_at", "id % 2 = 1 as clicked",
        f"if(id % 2 = 1, TIMESTAMP'{DAY} 00:00:01', null) as clicked_at", "double(null) as reward", f"TIMESTAMP'{DAY} 23:59:59' as outcome_final_at", "true as examined",
    )  # fmt: skip
    vocabulary = spark.range(count).selectExpr(
        "'item_id' as feature", "concat('i', id + 2) as value", "int(id + 2) as index", f"DATE'{DAY}' as ds"
    )
    began = time.monotonic()
    rows = built(shown, vocabulary, 4).select("item_index", "unclicked").toPandas()
    assert time.monotonic() - began < 60
    assert len(rows) == count / 2
    steps = (np.stack(rows["unclicked"]) - rows["item_index"].to_numpy()[:, None])[
        rows["item_index"].between(5, count - 4)
    ]
    assert (steps == [-1, 1, -3, 3]).all()
    assert len(steps) > count / 2 - 10


def test_a_late_click_removes_its_item_from_the_list_like_a_timely_one(
    lake: Lake, spark: SparkSession, vocabularies: DataFrame
) -> None:
    next_day = DAY + dt.timedelta(days=1)
    shown = request(spark, ("i2", 1, False), ("i3", 2, False), ("i4", 3, False)).select(tables.IMPRESSIONS.columns)
    lake.overwrite(tables.IMPRESSIONS, DAY, shown)

    def after(*clicks: tuple[dt.date, str, dt.datetime, float]) -> list[Row]:
        lake.overwrite_days(
            tables.CLICKS,
            [DAY, next_day],
            spark.createDataFrame(
                [(ds, key, None, None, time, reward) for ds, key, time, reward in clicks], tables.CLICKS.schema
            ),
        )
        outcomes = build_interactions.interactions(
            lake.read(tables.IMPRESSIONS), lake.read(tables.CLICKS), DAY, AttributionWindow(24)
        )
        lake.overwrite(tables.INTERACTIONS, DAY, build_interactions.with_examined(outcomes, "all", 1))
        return built(lake.day(tables.INTERACTIONS, DAY), vocabularies).orderBy("impression_id").collect()

    first, second = ("r-0-i2", minute(5), 3.0), ("r-1-i3", minute(6), 9.0)
    (before,) = after((DAY, *first))
    assert before.unclicked == [3, 4, 0, 0]
    landed = spark.createDataFrame([(next_day, second[0], None, None, *second[1:])], tables.CLICKS.schema)
    lake.overwrite(tables.CLICKS, next_day, landed)
    assert build_interactions.days_changed_by_late_clicks(lake, load_config(), next_day) == [DAY]
    late = after((DAY, *first), (next_day, *second))
    # a run that is cut short here finds the day again
    assert build_interactions.days_changed_by_late_clicks(lake, load_config(), next_day) == [DAY]
    assert [(row.unclicked, row.weight) for row in late] == [([4, 0, 0, 0], 3.0), ([4, 0, 0, 0], 9.0)]
    assert {row.outcome_final_at for row in late} == {before.outcome_final_at}
    assert late == after((DAY, *first), (DAY, *second))
