from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import build_interactions
from jobs.build_interactions import days_changed_by_late_clicks, interactions, with_examined
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import check_schema
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.encoding import union
from jobs.raw_log.preconditions import DayStopped

DAY = dt.date(2026, 3, 29)  # clocks change in Europe, which must not matter
NEXT = DAY + dt.timedelta(days=1)
WINDOW = AttributionWindow(24)


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(hour, minute), dt.UTC)


def impressions(spark: SparkSession, *rows: tuple[str, str, dt.datetime], ds: dt.date = DAY) -> DataFrame:
    return spark.createDataFrame(
        [(ds, key, "r1", "u1", item, 1, time) for key, item, time in rows], tables.IMPRESSIONS.schema
    )


def clicks(spark: SparkSession, *rows: tuple[dt.date, str, dt.datetime], reward: float | None = None) -> DataFrame:
    return spark.createDataFrame([(ds, key, None, None, time, reward) for ds, key, time in rows], tables.CLICKS.schema)


def outcomes(frame: DataFrame) -> dict[str, dt.datetime | None]:
    rows = frame.select(
        "impression_id", "clicked", F.date_format("clicked_at", "yyyy-MM-dd HH:mm").alias("at")
    ).collect()
    assert all(row.clicked == (row.at is not None) for row in rows)
    assert len({row.impression_id for row in rows}) == len(rows)
    return {row.impression_id: row.at for row in rows}


def test_the_first_click_inside_the_window_counts(spark: SparkSession) -> None:
    shown = impressions(
        spark, ("a", "i1", at(DAY, 10)), ("b", "i2", at(DAY, 10)), ("c", "i3", at(DAY, 10)), ("d", "i4", at(DAY, 23))
    )
    clicked = clicks(
        spark,
        (DAY, "a", at(DAY, 12)), (DAY, "a", at(DAY, 11)),  # the earlier one
        (DAY, "b", at(DAY, 9)),  # before its impression
        (NEXT, "c", at(NEXT, 10, 1)),  # a minute too late
        (NEXT, "d", at(NEXT, 23)),  # at the very end of the window
        (DAY, "orphan", at(DAY, 12)),
    )  # fmt: skip
    assert outcomes(interactions(shown, clicked, DAY, WINDOW)) == {
        "a": "2026-03-29 11:00", "b": None, "c": None, "d": "2026-03-30 23:00",
    }  # fmt: skip


def test_an_early_click_does_not_hide_a_later_valid_one(spark: SparkSession) -> None:
    shown = impressions(spark, ("a", "i1", at(DAY, 10)))
    clicked = clicks(spark, (DAY, "a", at(DAY, 9)), (DAY, "a", at(DAY, 11)))
    assert outcomes(interactions(shown, clicked, DAY, WINDOW)) == {"a": "2026-03-29 11:00"}


def test_duplicates_change_nothing(spark: SparkSession) -> None:
    shown = impressions(spark, ("a", "i1", at(DAY, 10)), ("b", "i2", at(DAY, 10)))
    clicked = clicks(spark, (DAY, "a", at(DAY, 11)))
    once = interactions(shown, clicked, DAY, WINDOW).collect()
    twice = interactions(shown.unionAll(shown), clicked.unionAll(clicked), DAY, WINDOW).collect()
    assert sorted(once) == sorted(twice)


@pytest.mark.parametrize("broadcast", [1_000, 0])
def test_of_copies_the_first_counts_on_the_day_on_which_it_landed_first(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, broadcast: int
) -> None:
    monkeypatch.setattr(build_interactions, "MAX_BROADCAST_IDS", broadcast)
    today = impressions(spark, ("a", "i9", at(DAY, 10)), ("a", "i2", at(DAY, 9)), ("b", "i3", at(DAY, 8)), ("c", "i4", at(DAY, 8)))  # fmt: skip
    before = impressions(spark, ("b", "i5", at(DAY, 7)), ("d", "i6", at(DAY, 7)), ds=DAY - dt.timedelta(days=1))
    shown, clicked = before.union(today), clicks(spark, (DAY, "a", at(DAY, 11)), (DAY, "b", at(DAY, 11)))
    repeated = build_interactions.repeated_ids(shown, DAY, WINDOW)
    assert repeated.count() == 2
    with build_interactions.computed_ids(repeated) as computed:
        for ids in (computed, None):
            rows = interactions(shown, clicked, DAY, WINDOW, ids).collect()
            assert sorted((row.impression_id, row.item_id, row.clicked) for row in rows) == [("a", "i2", True), ("c", "i4", False)]  # fmt: skip


def test_without_copies_no_row_is_numbered(spark: SparkSession) -> None:
    shown = impressions(spark, ("a", "i1", at(DAY, 10)), ("b", "i2", at(DAY, 10)))
    with build_interactions.computed_ids(build_interactions.repeated_ids(shown, DAY, WINDOW)) as repeated:
        rows = interactions(shown, clicks(spark), DAY, WINDOW, repeated)
        plan = rows._jdf.queryExecution().executedPlan().toString()
        assert "Window" not in plan
        assert "LeftAnti" not in plan  # nor is anybody looked up who is set aside
        assert set(outcomes(rows)) == {"a", "b"}


def test_the_rows_have_the_columns_of_the_table(spark: SparkSession) -> None:
    rows = interactions(impressions(spark, ("a", "i1", at(DAY, 10))), clicks(spark), DAY, WINDOW)
    rows = with_examined(rows, "all", 1)
    check_schema(tables.INTERACTIONS, rows.schema)
    assert rows.columns == tables.INTERACTIONS.columns


def test_the_reward_is_that_of_the_click_that_counts(spark: SparkSession) -> None:
    shown = impressions(spark, *((key, f"i{number}", at(DAY, 10)) for number, key in enumerate("abcdef")))
    landed = [
        ("a", at(DAY, 11), 1.0), ("a", at(DAY, 12), 9.0),  # the first one, not the best one
        ("b", at(DAY, 9), 9.0), ("b", at(DAY, 11), 2.0), ("b", at(NEXT, 11), 9.0),  # the one inside the window
        ("c", at(DAY, 11), 3.0), ("c", at(DAY, 11), 4.0), ("c", at(DAY, 11), None),  # the largest of a tie
        ("d", at(DAY, 11), None), ("d", at(DAY, 12), 9.0),  # the first one, though it has none
        ("e", at(NEXT, 11), 9.0),  # too late: neither click nor reward
    ]  # fmt: skip
    found = interactions(shown, union([clicks(spark, (DAY, *row[:2]), reward=row[2]) for row in landed]), DAY, WINDOW)
    rewards = {row.impression_id: row.reward for row in found.collect()}
    assert rewards == {"a": 1.0, "b": 2.0, "c": 4.0, "d": None, "e": None, "f": None}


def test_a_late_click_touches_the_day_of_its_impression(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(tables.IMPRESSIONS, DAY, impressions(spark, ("a", "i1", at(DAY, 20)), ("b", "i2", at(DAY, 20))))
    lake.overwrite(tables.IMPRESSIONS, NEXT, impressions(spark, ("c", "i1", at(NEXT, 8)), ds=NEXT))
    arguments = ["--lake", lake.uri, "--ds", str(DAY)]
    assert build_interactions.main(arguments) == 2
    assert outcomes(lake.day(tables.INTERACTIONS, DAY)) == {"a": None, "b": None}
    lake.overwrite(tables.CLICKS, NEXT, clicks(spark, (NEXT, "a", at(NEXT, 7)), (NEXT, "c", at(NEXT, 9))))
    assert days_changed_by_late_clicks(lake, load_config(), NEXT) == [DAY]
    build_interactions.main(arguments)
    assert outcomes(lake.day(tables.INTERACTIONS, DAY)) == {"a": "2026-03-30 07:00", "b": None}


def test_a_day_without_impressions_is_refused(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(tables.IMPRESSIONS, NEXT, impressions(spark, ("a", "i1", at(NEXT, 8)), ds=NEXT))
    with pytest.raises(DayStopped, match="no impression landed on 2026-03-29"):
        build_interactions.main(["--lake", lake.uri, "--ds", str(DAY)])
    assert not lake.has(tables.INTERACTIONS)
