from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import build_negative_pools, build_sampling_probs, build_window_counts
from jobs.build_item_counts import daily_item_counts
from jobs.build_negative_pools import unclicked_items
from jobs.build_sampling_probs import item_sampling_probs
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.checks import CheckFailed
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

DAY = dt.date(2026, 1, 5)
BEFORE = DAY - dt.timedelta(days=1)
MIDNIGHT = dt.datetime.combine(DAY + dt.timedelta(days=1), dt.time(), dt.UTC)


def counted(spark: SparkSession, *rows: tuple[str, int, int, int], exposures: int | None = None) -> DataFrame:
    """The window's counts (item, impressions, clicks, examples); every impression is an exposure unless `exposures` is given."""
    made = [
        (DAY, item, int(item[1:]), shown, shown if exposures is None else exposures, clicks, examples, 30)
        for item, shown, clicks, examples in rows
    ]
    return spark.createDataFrame(made, tables.WINDOW_ITEM_COUNTS.schema)


@pytest.fixture
def counts(spark: SparkSession) -> DataFrame:
    """Clicked i2 and i3, unclicked i4 to i6; examples fewer than clicks, as after a cap."""
    return counted(spark, ("i2", 14, 8, 6), ("i3", 8, 2, 2), ("i4", 30, 0, 0), ("i5", 17, 0, 0), ("i6", 9, 0, 0))


@pytest.fixture
def last_day(spark: SparkSession) -> DataFrame:
    rows = [(DAY, "i2", 2, 4, 4, 2, 1), (DAY, "i3", 3, 8, 8, 2, 2), (DAY, "i5", 5, 7, 7, 0, 0)]
    return spark.createDataFrame(rows, tables.DAILY_ITEM_COUNTS.schema)


def snapshot(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(f"i{n}", n) for n in range(2, 9)], "item_id string, item_index int")


def pool(spark: SparkSession, **exposures: int) -> DataFrame:
    return spark.createDataFrame(
        [(DAY, item, int(item[1:]), n) for item, n in exposures.items()], tables.UNCLICKED_ITEMS.schema
    )


def shown(spark: SparkSession, *rows: tuple[str, dt.datetime, bool]) -> DataFrame:
    """interactions (item, outcome_final_at, examined) that nobody clicked."""
    made = [
        (DAY, f"{item}{n}", "r", "u", item, 1, final - dt.timedelta(hours=24), False, None, None, final, examined)
        for n, (item, final, examined) in enumerate(rows)
    ]
    return spark.createDataFrame(made, tables.INTERACTIONS.schema)


def test_q_is_the_share_of_the_rows_that_are_trained_on(
    spark: SparkSession, counts: DataFrame, last_day: DataFrame
) -> None:
    made = item_sampling_probs(counts, last_day, snapshot(spark), pool(spark, i4=30, i5=10), 0.0)
    rows = {row.item_id: row for row in made.collect()}
    assert set(rows) == {f"i{n}" for n in range(2, 9)}  # including new items that nobody has seen
    assert (rows["i2"].q, rows["i3"].q, rows["i4"].q) == (6 / 8, 2 / 8, 0.0)
    assert (rows["i2"].q_before, rows["i3"].q_before) == (1.0, 0.0)
    assert (rows["i2"].q_last, rows["i3"].q_last) == (1 / 3, 2 / 3)
    assert (rows["i4"].p, rows["i5"].p, rows["i2"].p) == (0.75, 0.25, 0.0)
    assert all(row.u == pytest.approx(1 / 7, abs=1e-15) for row in rows.values())
    for column in ("q", "q_before", "q_last", "u", "p"):
        assert sum(row[column] for row in rows.values()) == pytest.approx(1, abs=1e-9)
    assert (rows["i2"].clicks, rows["i8"].clicks) == (8, 0)


def test_u_smooths_clicks_and_leaves_nobody_out(spark: SparkSession, counts: DataFrame, last_day: DataFrame) -> None:
    made = item_sampling_probs(counts, last_day, snapshot(spark), pool(spark, i4=1), 0.5)
    rows = {row.item_id: row.u for row in made.collect()}
    assert rows["i2"] / rows["i8"] == pytest.approx(9**0.5)
    assert min(rows.values()) > 0


def test_an_empty_pool_gives_zero_and_not_null(spark: SparkSession, counts: DataFrame, last_day: DataFrame) -> None:
    empty = spark.createDataFrame([], tables.UNCLICKED_ITEMS.schema)
    rows = item_sampling_probs(counts, last_day, snapshot(spark), empty, 0.0).collect()
    assert {row.p for row in rows} == {0.0}


def test_only_exposures_whose_window_has_closed_count(spark: SparkSession, counts: DataFrame) -> None:
    """Of i6's nine exposures, seven can still be clicked; one has closed just before the end of the day."""
    soon, then = MIDNIGHT + dt.timedelta(hours=9), MIDNIGHT - dt.timedelta(seconds=1)
    recent = shown(
        spark, *[("i6", soon, True)] * 6, ("i6", MIDNIGHT, True), ("i6", then, True), ("i6", soon, False), ("i2", soon, True)
    )  # fmt: skip
    found = {row.item_id: row.exposures for row in unclicked_items(counts, recent, DAY, 1, 10).collect()}
    assert found == {"i4": 30, "i5": 17, "i6": 2}
    found = {row.item_id: row.exposures for row in unclicked_items(counts, recent, DAY, 3, 10).collect()}
    assert found == {"i4": 30, "i5": 17}


def test_what_was_not_examined_is_no_exposure(spark: SparkSession) -> None:
    counts = counted(spark, ("i4", 30, 0, 0), exposures=2)
    found = unclicked_items(counts, shown(spark), DAY, 1, 10).collect()
    assert [(row.item_id, row.exposures) for row in found] == [("i4", 2)]


@pytest.mark.parametrize("most", slow_after(2, [1, 7, 499, 500, 501, 600]))
def test_of_a_pool_that_is_too_large_the_most_exposed_items_are_kept(spark: SparkSession, most: int) -> None:
    """100 items have two exposures and 500 have one: exactly `most` are kept, the same ones on every run."""
    rows = [(f"i{n}", 2 if n < 102 else 1, 0, 0) for n in range(2, 602)]
    found = unclicked_items(counted(spark, *rows), shown(spark), DAY, 1, most).collect()
    assert len(found) == len({row.item_id for row in found}) == most
    assert sum(row.exposures == 2 for row in found) == min(most, 100)
    again = unclicked_items(counted(spark, *reversed(rows)), shown(spark), DAY, 1, most).collect()
    assert {row.item_id for row in again} == {row.item_id for row in found}


def test_a_day_is_counted_once_whatever_repeats(spark: SparkSession) -> None:
    time = dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    shown = [
        (DAY, f"{n}", "r", "u", item, 1, time, clicked, time if clicked else None, None, time, examined)
        for n, (item, clicked, examined) in enumerate([("i2", True, True), ("i2", False, False), ("i3", False, True)])
    ]
    interactions = spark.createDataFrame(shown, tables.INTERACTIONS.schema)
    examples = spark.createDataFrame([("i2",)], "item_id string")
    vocabularies = spark.createDataFrame(
        [("item_id", "i2", 2, DAY), ("item_id", "i3", 3, DAY)], tables.VOCABULARIES.schema
    )
    rows = {row.item_id: tuple(row)[1:] for row in daily_item_counts(interactions, examples, vocabularies).collect()}
    assert rows == {"i2": (2, 2, 1, 1, 1), "i3": (3, 1, 1, 0, 0)}


def test_the_window_slides_to_what_its_days_sum_to(lake: Lake, spark: SparkSession, config: Config) -> None:
    """Items come and go: the sums that are carried from day to day equal sums over the days."""
    days = [DAY + dt.timedelta(days=number) for number in range(6)]
    rows = [
        (day, f"i{item}", item, 9, 9, 0, 0)
        for number, day in enumerate(days)
        for item in range(2, 12)
        if (item * 7 + number * 5) % 3  # each item on some of the days, i2 to i4 for the last time early
        if not (item < 5 and number > 1)
    ]
    lake.overwrite_days(tables.DAILY_ITEM_COUNTS, days, spark.createDataFrame(rows, tables.DAILY_ITEM_COUNTS.schema))
    for day in days:
        parts = build_window_counts.window_parts(lake, day, 3, full=False)
        made = build_window_counts.window_item_counts(parts, 3)
        lake.overwrite(tables.WINDOW_ITEM_COUNTS, day, made.select(tables.WINDOW_ITEM_COUNTS.columns[1:]))
        anew = build_window_counts.window_item_counts(build_window_counts.window_parts(lake, day, 3, full=True), 3)
        assert sorted(lake.day(tables.WINDOW_ITEM_COUNTS, day).drop("ds").collect()) == sorted(anew.collect())
    slid = build_window_counts.window_parts(lake, days[-1], 3, full=False)
    assert {row.sign for row in slid.select("sign").distinct().collect()} == {1, -1}
    other = build_window_counts.window_parts(lake, days[-1], 4, full=False)  # sums of another window are not used
    assert {row.sign for row in other.select("sign").distinct().collect()} == {1}
    assert lake.day(tables.WINDOW_ITEM_COUNTS, days[-1]).where("item_index < 5").isEmpty()


def test_counts_that_are_not_those_of_the_examples_are_refused(lake: Lake, spark: SparkSession) -> None:
    """This happens if an older day was built again and the days after it were not."""
    rows = spark.createDataFrame([(DAY, "i2", 2, 5, 5, 3, 3)], tables.DAILY_ITEM_COUNTS.schema)
    lake.overwrite(tables.DAILY_ITEM_COUNTS, DAY, rows)
    with pytest.raises(CheckFailed, match="difference between counted and existing examples: 3"):
        build_window_counts.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(DAY)])
    assert not lake.has(tables.WINDOW_ITEM_COUNTS)


def test_no_pool_is_built_that_no_model_draws_from(
    simulated_copy: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The day has a pool, built for the variants; without them, it is left as it is and not used any more."""
    no_variants = tmp_path / "no_variants.toml"
    no_variants.write_text(re.sub(r"\[variants\.[^\[]*", "", Path(SMALL).read_text("utf-8")), "utf-8")
    common = ["--lake", simulated_copy.uri, "--config", str(no_variants), "--ds", str(DAYS[2])]
    pool = simulated_copy.version(tables.UNCLICKED_ITEMS)
    assert not simulated_copy.day(tables.ITEM_SAMPLING_PROBS, DAYS[2]).where("p > 0").isEmpty()
    assert build_negative_pools.main(common) == 0
    assert "no pool is built" in capsys.readouterr().out
    assert build_sampling_probs.main(common) > 0
    after = Lake(simulated_copy.spark, simulated_copy.uri)
    assert after.version(tables.UNCLICKED_ITEMS) == pool
    assert after.day(tables.ITEM_SAMPLING_PROBS, DAYS[2]).where("p > 0").isEmpty()
