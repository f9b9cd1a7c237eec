from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import zip_longest

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.build_histories import user_histories
from jobs.build_training_examples import training_examples
from jobs.config.features import Features
from jobs.config.loading import Config, load_config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.days import epoch_day
from jobs.lake.tables import check_schema
from model.features import Feature

DAY = dt.date(2026, 1, 5)
SETTINGS = load_config().examples.model_copy(update={"unclicked_per_example": 3})
FEATURES = Features(
    user=(Feature(name="user_id", kind="id", dim=4), Feature(name="history", kind="item_list", length=3, dim=4), Feature(name="age", kind="numeric", dim=2)),
    item=(Feature(name="item_id", kind="id", dim=4),),
)  # fmt: skip


def minute(number: int) -> dt.datetime:
    return dt.datetime.combine(DAY, dt.time(), dt.UTC) + dt.timedelta(minutes=number)


def log(
    spark: SparkSession, *rows: tuple[str, str, int, int | None], rewards: Sequence[float | None] = ()
) -> DataFrame:
    """interactions (user, item, minute shown, minute clicked)."""
    return spark.createDataFrame(
        [
            (
                DAY,
                f"{user}-{item}-{shown}",
                "r",
                user,
                item,
                1,
                minute(shown),
                click is not None,
                None if click is None else minute(click),
                reward,
                minute(shown) + dt.timedelta(hours=24),
                True,
            )
            for (user, item, shown, click), reward in zip_longest(rows, rewards)
        ],
        tables.INTERACTIONS.schema,
    )


@pytest.fixture
def vocabularies(spark: SparkSession) -> DataFrame:
    rows = [("item_id", f"i{n}", n, DAY) for n in range(2, 12)] + [("user_id", "u1", 2, DAY), ("user_id", "u2", 3, DAY)]
    return spark.createDataFrame(rows, tables.VOCABULARIES.schema)


def built(spark: SparkSession, interactions: DataFrame, vocabularies: DataFrame, before: dict[str, list[int]], ages: dict[str, tuple[float | None, float]]) -> DataFrame:  # fmt: skip
    """training_examples; `ages` are those of the day before (None: no row) and of today."""
    histories = spark.createDataFrame(
        [(DAY, u, h, [], None) for u, h in before.items()], tables.TIMED_USER_HISTORIES.schema
    )
    columns = "user_id string, user_index int, age float"
    yesterday = spark.createDataFrame([(u, 2, a) for u, (a, _) in ages.items() if a is not None], columns)
    today = spark.createDataFrame([(u, 2, a) for u, (_, a) in ages.items()], columns)
    return training_examples(interactions, histories, yesterday, today, vocabularies, FEATURES, SETTINGS)


def examples(spark: SparkSession, interactions: DataFrame, vocabularies: DataFrame, before: dict[str, list[int]], ages: dict[str, tuple[float | None, float]]) -> dict[str, tuple[list[int], float]]:  # fmt: skip
    """Each example's history and age."""
    rows = built(spark, interactions, vocabularies, before, ages).collect()
    return {row.impression_id: (row.history, row.age) for row in rows}


def test_history_holds_the_last_clicks_strictly_before_the_impression(
    spark: SparkSession, vocabularies: DataFrame
) -> None:
    interactions = log(
        spark, ("u1", "i2", 0, 1), ("u1", "i3", 0, 5), ("u1", "i4", 5, 6), ("u1", "i5", 9, 12), ("u1", "i6", 10, None)
    )
    found = examples(spark, interactions, vocabularies, {"u1": [8, 9]}, {"u1": (30.0, 30.0)})
    assert {key: history for key, (history, _) in found.items()} == {
        "u1-i2-0": [8, 9, 0],
        "u1-i3-0": [8, 9, 0],  # shown in the same minute, so its history has no click of today
        "u1-i4-5": [8, 9, 2],  # i3 was clicked in the minute of this impression, not strictly before it
        "u1-i5-9": [2, 3, 4],
    }


def test_no_example_sees_its_own_or_a_later_click(spark: SparkSession, vocabularies: DataFrame) -> None:
    """Every click has the time of its impression, except one that follows its impression ten hours later."""
    interactions = log(spark, *(("u1", f"i{n}", n, n) for n in range(2, 8)), ("u1", "i9", 0, 600), ("u2", "i9", 1, 1))
    found = examples(spark, interactions, vocabularies, {}, {"u1": (1.0, 1.0), "u2": (2.0, 2.0)})
    assert found["u1-i7-7"][0] == [4, 5, 6]
    assert found["u1-i9-0"][0] == [0, 0, 0]
    assert found["u2-i9-1"][0] == [0, 0, 0]
    assert all(9 not in history for history, _ in found.values())


def test_features_are_those_of_the_day_before(spark: SparkSession, vocabularies: DataFrame) -> None:
    interactions = log(spark, ("u1", "i2", 0, 1), ("u2", "i2", 0, 1))
    found = examples(spark, interactions, vocabularies, {}, {"u1": (30.0, 99.0), "u2": (None, 41.0)})
    assert {key: age for key, (_, age) in found.items()} == {"u1-i2-0": 30.0, "u2-i2-0": 41.0}


def test_histories_carry_on_from_the_day_before(spark: SparkSession, vocabularies: DataFrame) -> None:
    interactions = log(spark, ("u1", "i4", 0, 9), ("u1", "i2", 0, 1), ("u1", "i5", 3, None))
    day_before = DAY - dt.timedelta(days=1)
    before = spark.createDataFrame(
        [
            (day_before, "u1", [8, 2], [(day_before, [2, 7, 8])], None),
            (day_before, "u2", [3], [(day_before, [3])], [7]),
        ],
        tables.TIMED_USER_HISTORIES.schema,
    )
    users = spark.createDataFrame([("u1",), ("u2",)], "user_id string")
    after = user_histories(interactions, before, users, vocabularies, DAY, 3, load_config().exclusions)
    rows = {row.user_id: row for row in after.collect()}
    assert rows["u1"].history == [2, 2, 4]
    assert rows["u1"].clicked == [(day_before, [2, 7, 8]), (DAY, [2, 4])]
    assert (rows["u2"].history, rows["u2"].clicked) == ([3], [(day_before, [3])])
    midnight = int(minute(0).timestamp()) // 60
    assert rows["u1"].clicked_minutes == [None, midnight + 1, midnight + 9]  # the histories before were without times
    assert rows["u2"].clicked_minutes == [7]
    left_out = {
        row.user_id: sorted(row.excluded) for row in excluded_items(after.withColumn("ds", F.lit(DAY))).collect()
    }
    assert left_out == {"u1": [2, 4, 7, 8], "u2": [3]}


def test_the_rows_have_the_columns_of_the_table(spark: SparkSession, vocabularies: DataFrame, config: Config) -> None:
    rows = built(spark, log(spark, ("u1", "i2", 0, 1)), vocabularies, {}, {"u1": (None, 1.0)})
    table = tables.training_examples(config.model_copy(update={"features": FEATURES}))
    days = {"ds": F.lit(DAY), "epoch_day": F.lit(epoch_day(DAY))}  # added when the day is written
    check_schema(table, rows.withColumns(days).schema)
    assert {"unclicked", "outcome_final_at", "weight", "history", "age"} <= set(table.columns)


def test_a_feature_with_the_name_of_a_column_is_refused(config: Config) -> None:
    """Every column that the tables of examples and users hold anyway."""
    bare = config.model_copy(update={"features": Features(user=FEATURES.user[:1], item=FEATURES.item)})
    for column in {*tables.training_examples(bare).columns, *tables.user_snapshot(bare).columns} - {"user_id"}:
        named = Feature(name=column, kind="numeric", dim=2)
        with pytest.raises(ValueError, match=f"features.user must not have a feature named like the column {column}"):
            Features(user=(*FEATURES.user, named), item=FEATURES.item)


def test_the_weight_is_the_reward_or_one(spark: SparkSession, vocabularies: DataFrame) -> None:
    """A reward beyond the range of a float counts as missing, not as infinite."""
    weights = {None: 1.0, 0.0: 0.0, 2.5: 2.5, 1e300: 1.0, float("nan"): 1.0}
    clicks = log(spark, *(("u1", "i2", shown, shown) for shown in range(len(weights))), rewards=list(weights))
    rows = built(spark, clicks, vocabularies, {}, {"u1": (None, 1.0)}).orderBy("impressed_at").collect()
    assert [row.weight for row in rows] == list(weights.values())
