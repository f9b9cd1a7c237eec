from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.build_snapshots import changed_rows, item_snapshot, user_snapshot
from jobs.build_vocabularies import unseen_values, with_indices
from jobs.config.features import Features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.raw_log.encoding import encode
from model.features import Feature

DAY = dt.date(2026, 1, 5)
FEATURES = Features(
    user=(Feature(name="user_id", kind="id", dim=4), Feature(name="gender", kind="categorical", dim=2), Feature(name="saved", kind="item_list", length=2, dim=4)),
    item=(Feature(name="item_id", kind="id", dim=4), Feature(name="genres", kind="categorical", length=3, dim=2), Feature(name="year", kind="numeric", dim=2)),
)  # fmt: skip
USERS = "ds date, user_id string, gender string, saved array<string>"
ITEMS = "ds date, item_id string, available boolean, published_at timestamp, genres array<string>, year double"


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={"features": FEATURES})


def interactions(spark: SparkSession, *pairs: tuple[str, str]) -> DataFrame:
    return spark.createDataFrame(list(pairs), "user_id string, item_id string")


def grown(spark: SparkSession, known: DataFrame, seen: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    return known.unionByName(with_indices(unseen_values(seen, users, items, known, FEATURES), known, DAY))


@pytest.fixture
def vocabularies(spark: SparkSession) -> DataFrame:
    empty = spark.createDataFrame([], tables.VOCABULARIES.schema)
    users = spark.createDataFrame([(DAY, "u1", "F", ["i1", "i7"]), (DAY, "u2", None, None)], USERS)
    items = spark.createDataFrame([(DAY, "i1", True, None, ["x", "y"], 1.0)], ITEMS)
    return grown(spark, empty, interactions(spark, ("u3", "i2")), users, items).localCheckpoint()


def test_every_vocabulary_is_dense_from_two(vocabularies: DataFrame) -> None:
    found: dict[str, dict[str, int]] = {}
    for row in vocabularies.collect():
        found.setdefault(row.feature, {})[row.value] = row["index"]
    assert {name: set(values) for name, values in found.items()} == {
        "user_id": {"u1", "u2", "u3"}, "item_id": {"i1", "i2", "i7"}, "user.gender": {"F"}, "item.genres": {"x", "y"},
    }  # fmt: skip
    for values in found.values():
        assert sorted(values.values()) == list(range(2, 2 + len(values)))


def test_an_index_once_given_stays_and_new_ones_follow(spark: SparkSession, vocabularies: DataFrame) -> None:
    nobody, nothing = spark.createDataFrame([], USERS), spark.createDataFrame([], ITEMS)
    later = grown(spark, vocabularies, interactions(spark, ("u1", "i9"), ("u9", "i1"), ("u9", "i0")), nobody, nothing)
    before = {(row.feature, row.value): row["index"] for row in vocabularies.collect()}
    after = {(row.feature, row.value): row["index"] for row in later.collect()}
    assert before.items() <= after.items()
    assert {key: index for key, index in after.items() if key not in before}.keys() == {
        ("user_id", "u9"),
        ("item_id", "i9"),
        ("item_id", "i0"),
    }
    assert {after["item_id", "i9"], after["item_id", "i0"]} == {5, 6}
    assert (
        with_indices(
            unseen_values(interactions(spark, ("u9", "i0")), nobody, nothing, later, FEATURES), later, DAY
        ).count()
        == 0
    )


def test_items_are_encoded_overlaid_and_carried_on(
    spark: SparkSession, vocabularies: DataFrame, config: Config
) -> None:
    index = {(row.feature, row.value): row["index"] for row in vocabularies.collect()}
    empty = spark.createDataFrame([], tables.item_snapshot(config).schema).drop("ds")
    landed = spark.createDataFrame(
        [(DAY, "i1", None, None, ["y", "x", "y", "x"], 1.5), (DAY, "i2", True, None, None, None)], ITEMS
    )
    first = item_snapshot(
        changed_rows(landed, interactions(spark, ("u1", "i7")), empty, "item_id"), empty, vocabularies, FEATURES.item
    ).localCheckpoint()
    rows = {row.item_id: row for row in first.collect()}
    x, y = index["item.genres", "x"], index["item.genres", "y"]
    assert rows["i1"].genres == [y, x, y]  # cut to its length
    assert (rows["i2"].genres, rows["i2"].year, rows["i2"].available) == ([0, 0, 0], None, True)
    assert (rows["i7"].genres, rows["i7"].available) == ([0, 0, 0], True)  # only seen, never described
    gone = spark.createDataFrame([(DAY, "i1", False, None, ["new"], 2.5)], ITEMS)
    second = item_snapshot(
        changed_rows(gone, interactions(spark, ("u1", "i2")), first, "item_id"), first, vocabularies, FEATURES.item
    )
    rows = {row.item_id: row for row in second.collect()}
    assert (rows["i1"].available, rows["i1"].genres, rows["i1"].year) == (
        False,
        [1, 0, 0],
        2.5,
    )  # `new` has no index: unknown
    assert set(rows) == {"i1", "i2", "i7"}
    assert all(rows[item].item_index == index["item_id", item] for item in rows)


def test_users_keep_the_day_they_were_first_seen(spark: SparkSession, vocabularies: DataFrame, config: Config) -> None:
    index = {(row.feature, row.value): row["index"] for row in vocabularies.collect()}
    empty = spark.createDataFrame([], tables.user_snapshot(config).schema).drop("ds")
    landed = spark.createDataFrame([(DAY, "u1", "F", ["i1", "i7", "i2"])], USERS)
    seen = interactions(spark, ("u3", "i1"))
    first = user_snapshot(
        changed_rows(landed, seen, empty, "user_id"), seen, empty, vocabularies, FEATURES.user, DAY, 30
    ).localCheckpoint()
    rows = {row.user_id: row for row in first.collect()}
    assert (rows["u1"].gender, rows["u1"].saved) == (
        index["user.gender", "F"],
        [index["item_id", "i1"], index["item_id", "i7"]],
    )
    assert (rows["u3"].gender, rows["u3"].saved) == (1, [0, 0])
    again = spark.createDataFrame([(DAY, "u1", None, None)], USERS)
    later = DAY + dt.timedelta(days=1)
    rows = {
        row.user_id: row
        for row in user_snapshot(
            changed_rows(again, seen, first, "user_id"), seen, first, vocabularies, FEATURES.user, later, 30
        ).collect()
    }
    assert (rows["u1"].gender, rows["u1"].first_seen) == (1, DAY)
    assert set(rows) == {"u1", "u3"}


def test_copies_of_a_row_that_landed_twice_make_one(
    spark: SparkSession, vocabularies: DataFrame, config: Config
) -> None:
    empty = spark.createDataFrame([], tables.item_snapshot(config).schema).drop("ds")
    twice = spark.createDataFrame([(DAY, "i1", True, None, ["x"], 1.0), (DAY, "i1", True, None, ["y"], 2.0)], ITEMS)
    seen = interactions(spark, ("u1", "i1"))
    made = [
        item_snapshot(changed_rows(frame, seen, empty, "item_id"), empty, vocabularies, FEATURES.item).collect()
        for frame in (twice, twice.orderBy("year", ascending=False))
    ]
    assert made[0] == made[1]
    assert len(made[0]) == 1


def test_numbers_that_are_not_finite_and_vectors_of_another_length_are_missing(spark: SparkSession) -> None:
    features = [Feature(name="year", kind="numeric", dim=2), Feature(name="image", kind="vector", length=2, dim=2)]
    values = [(1.5, [1.0, 2.0]), (float("nan"), [float("inf"), 2.0]), (1e300, [1.0]), (None, None)]
    rows = spark.createDataFrame(
        [(f"i{n}", *pair) for n, pair in enumerate(values)], "item_id string, year double, image array<double>"
    )
    nothing = spark.createDataFrame([], tables.VOCABULARIES.schema)
    found = {row.item_id: (row.year, row.image) for row in encode(rows, "item_id", "item", features, nothing).collect()}
    assert found == {"i0": (1.5, [1.0, 2.0]), "i1": (None, [None, 2.0]), "i2": (None, None), "i3": (None, None)}
