"""How long ago each click of a history was: in the histories, the examples and the inputs of the user tower."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import build_histories, build_training_examples
from jobs.build_training_examples import training_examples
from jobs.config.features import Features
from jobs.config.loading import load_config
from jobs.inference.embedding_inputs import users_to_embed
from jobs.lake import tables
from jobs.lake.days import day_end, day_start
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from model.features import Feature
from model.features.gaps import gap_index, gap_index_sql
from model.vocabulary import UNKNOWN
from tests.conftest import DAYS, SMALL
from tests.jobs.test_build_training_examples import DAY, FEATURES, SETTINGS, log, minute

_, SECOND, THIRD, _ = DAYS
USER_ID, HISTORY = FEATURES.user[:2]
GAPS = Features(
    user=(USER_ID, Feature(name="history", kind="item_list", length=4, dim=4, gaps=True)), item=FEATURES.item
)
MIDNIGHT = int(minute(0).timestamp()) // 60


@pytest.fixture
def vocabularies(spark: SparkSession) -> DataFrame:
    rows = [("item_id", f"i{n}", n, DAY) for n in range(2, 12)]
    return spark.createDataFrame(rows, tables.VOCABULARIES.schema)


def examples(
    interactions: DataFrame, vocabularies: DataFrame, *before: tuple[str, list[int], list[int | None] | None]
) -> dict[str, tuple[list[int], list[int]]]:
    """History and gaps of each example; before: user, items and minutes of the clicks of the days before."""
    spark = interactions.sparkSession
    rows = [(DAY, user, items, [], minutes) for user, items, minutes in before]
    histories = spark.createDataFrame(rows, tables.TIMED_USER_HISTORIES.schema)
    users = spark.createDataFrame([("u1", 2), ("u2", 3)], "user_id string, user_index int")
    made = training_examples(interactions, histories, users, users, vocabularies, GAPS, SETTINGS)
    return {row.impression_id: (row.history, row.history_gaps) for row in made.collect()}


def test_gaps_count_the_minutes_from_each_click_to_the_impression(spark: SparkSession, vocabularies: DataFrame) -> None:
    interactions = log(spark, ("u1", "i2", 0, 1), ("u1", "i3", 5, 9), ("u1", "i4", 20, 30), ("u2", "i2", 7, 8))
    week, hour = MIDNIGHT - 7 * 1_440, MIDNIGHT - 60
    found = examples(interactions, vocabularies, ("u1", [7, 8, 9], [None, week, hour]), ("u2", [6], None))
    assert found == {
        "u1-i2-0": ([7, 8, 9, 0], [UNKNOWN, gap_index(10_080), gap_index(60), 0]),
        "u1-i3-5": ([7, 8, 9, 2], [UNKNOWN, gap_index(10_085), gap_index(65), gap_index(4)]),
        "u1-i4-20": ([8, 9, 2, 3], [gap_index(10_100), gap_index(80), gap_index(19), gap_index(11)]),
        "u2-i2-7": ([6, 0, 0, 0], [UNKNOWN, 0, 0, 0]),  # the histories before were built without times
    }


def test_no_click_after_the_impression_is_in_the_history(spark: SparkSession, vocabularies: DataFrame) -> None:
    """A click on an impression of the day before can happen after midnight, and is in the history of that day."""
    interactions = log(spark, ("u1", "i2", 3, 3), ("u1", "i3", 8, 8))
    found = examples(interactions, vocabularies, ("u1", [7, 8, 9], [MIDNIGHT - 1, MIDNIGHT + 3, MIDNIGHT + 5]))
    assert found["u1-i2-3"] == ([7, 0, 0, 0], [gap_index(4), 0, 0, 0])
    assert found["u1-i3-8"] == ([7, 8, 9, 2], [gap_index(9), gap_index(5), gap_index(3), gap_index(5)])


def test_spark_and_python_count_gaps_alike(spark: SparkSession) -> None:
    minutes = [None, -7, *range(70), *(2**n + d for n in range(7, 31) for d in (-1, 0, 1) if 2**n + d < 2**31)]
    rows = spark.createDataFrame([(value,) for value in minutes], "minutes int")
    found = rows.select("minutes", F.expr(gap_index_sql("minutes")).alias("found")).collect()
    assert {row.minutes: row.found for row in found} == {value: gap_index(value) for value in minutes}


def gaps_config(folder: Path) -> list[str]:
    """The configuration of the simulated lake, with gaps."""
    text = Path(SMALL).read_text("utf-8")
    with_gaps = text.replace('name = "history"\n', 'name = "history"\ngaps = true\n')
    assert with_gaps != text
    (folder / "gaps.toml").write_text(with_gaps, "utf-8")
    return ["--config", str(folder / "gaps.toml")]


def test_a_lake_that_had_no_times_gets_them_from_a_day_on(simulated_copy: Lake, tmp_path: Path) -> None:
    lake, config = simulated_copy, gaps_config(tmp_path)
    common = ["--lake", lake.uri, "--ds", str(THIRD)]
    before = {row.user_id: row for row in lake.day(tables.USER_HISTORIES, THIRD).collect()}
    with pytest.raises(SchemaMismatch, match="training_examples: missing history_gaps array<int>"):
        build_training_examples.main([*common, *config])
    build_histories.main([*common, *config])
    timed = {row.user_id: row for row in lake.day(tables.TIMED_USER_HISTORIES, THIRD).collect()}
    first, last = (int(time.timestamp()) // 60 for time in (day_start(THIRD), day_end(THIRD)))
    known = [minute for row in timed.values() for minute in row.clicked_minutes if minute is not None]
    assert len(known) > 100
    assert first <= min(known)
    assert max(known) <= last + 24 * 60
    assert any(None in row.clicked_minutes for row in timed.values())  # of the days before
    for user_id, row in timed.items():
        assert len(row.clicked_minutes) == len(row.history)
        assert sorted(minute or 0 for minute in row.clicked_minutes) == [minute or 0 for minute in row.clicked_minutes]
        assert (row.history, row.clicked) == (before[user_id].history, before[user_id].clicked)
    assert {row.user_id: row for row in lake.day(tables.USER_HISTORIES, THIRD).collect()} == before
    build_histories.main([*common, "--config", SMALL])  # without them again
    assert {row.user_id: row for row in lake.day(tables.USER_HISTORIES, THIRD).collect()} == before
    again = lake.day(tables.TIMED_USER_HISTORIES, THIRD).select("clicked_minutes").distinct().collect()
    assert [row.clicked_minutes for row in again] == [None]


def test_a_day_later_gaps_are_longer_but_no_user_has_changed(simulated_copy: Lake, tmp_path: Path) -> None:
    """Otherwise `scoring.changed_users_only` would score all users every day."""
    lake, paths = simulated_copy, gaps_config(tmp_path)
    config, inputs = load_config(paths[1]), ["user_index", "history", "history_gaps"]
    build_histories.main(["--lake", lake.uri, "--ds", str(SECOND), *paths])
    for table in (tables.TIMED_USER_HISTORIES, tables.user_snapshot(config)):
        lake.overwrite(table, THIRD, lake.day(table, SECOND).localCheckpoint())  # nobody clicks on the third day
    of_days = [
        {row.user_id: row for row in users_to_embed(lake, config, day, inputs).collect()} for day in (SECOND, THIRD)
    ]
    assert {user: row.scored_from for user, row in of_days[0].items()} == {
        user: row.scored_from for user, row in of_days[1].items()
    }
    histories = {row.user_id: row for row in lake.day(tables.TIMED_USER_HISTORIES, THIRD).collect()}
    for day, rows in zip((SECOND, THIRD), of_days, strict=True):
        end = int(day_end(day).timestamp()) // 60
        for user_id, row in rows.items():
            minutes = histories[user_id].clicked_minutes if user_id in histories else []
            want = [gap_index(None if time is None else end - time) for time in minutes]
            assert row.history_gaps == want + [0] * (config.features.history_length - len(want))
    assert sum(of_days[0][user].history_gaps != of_days[1][user].history_gaps for user in histories) > 20
    later = lake.day(tables.TIMED_USER_HISTORIES, THIRD)
    shifted = later.withColumn("clicked_minutes", F.transform("clicked_minutes", lambda minute: minute - 1))
    lake.overwrite(tables.TIMED_USER_HISTORIES, THIRD, shifted.localCheckpoint())
    changed = {row.user_id: row.scored_from for row in users_to_embed(lake, config, THIRD, inputs).collect()}
    assert sum(changed[user] != of_days[1][user].scored_from for user in histories) > 20  # other times are another user
