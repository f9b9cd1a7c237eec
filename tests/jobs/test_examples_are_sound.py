"""What training reads: nothing of the future, at most so many examples per user, and counts of the same examples."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from jobs import (
    build_histories,
    build_item_counts,
    build_sampling_probs,
    build_training_examples,
    build_window_counts,
)
from jobs.build_interactions import with_examined
from jobs.config.loading import Config, load_config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, _ = DAYS


def own_config(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(Path(SMALL).read_text("utf-8") + text, "utf-8")
    return str(path)


def test_later_events_change_no_example(simulated_copy: Lake, config: Config) -> None:
    """All interactions from noon on, and the snapshots and histories of later days, are replaced by made-up ones."""
    lake, table = simulated_copy, tables.training_examples(config)
    before = {row.impression_id: row for row in lake.day(table, SECOND).collect()}
    noon = dt.datetime.combine(SECOND, dt.time(12), dt.UTC)
    rows = lake.day(tables.INTERACTIONS, SECOND)
    later = rows.where(F.greatest("impressed_at", F.coalesce("clicked_at", "impressed_at")) >= F.lit(noon))
    early = rows.join(later, "impression_id", "left_anti").select(rows.columns)
    shuffled = (
        later.where("clicked")
        .withColumn("item_id", F.concat(F.lit("i"), F.pmod(F.xxhash64("impression_id"), F.lit(50))))
        .join(lake.read(tables.VOCABULARIES).where("feature = 'item_id'").select(F.col("value").alias("item_id")), "item_id", "left_semi")
        .withColumn("reward", F.lit(77.0))
    )  # fmt: skip
    lake.overwrite(tables.INTERACTIONS, SECOND, early.unionByName(shuffled.select(rows.columns)).localCheckpoint())
    users = tables.user_snapshot(config)
    for day in (SECOND, THIRD):
        known = lake.day(users, day)
        lake.overwrite(users, day, known.withColumn("age", F.lit(99.0).cast("float")).localCheckpoint())
    lake.overwrite(tables.USER_HISTORIES, THIRD, lake.day(tables.USER_HISTORIES, FIRST).limit(3).localCheckpoint())
    build_training_examples.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(SECOND)])
    after = {row.impression_id: row for row in lake.day(table, SECOND).collect()}
    clicked_early = {row.impression_id for row in early.where("clicked").select("impression_id").collect()}
    known = {row.user_id for row in lake.day(users, FIRST).select("user_id").collect()}
    compared = 0
    for key in clicked_early & before.keys():
        if before[key].user_id in known:  # a new user's features come from the day itself
            # the list of unclicked items may change, as it depends on clicks of the afternoon
            same = [name for name in table.columns if name not in ("unclicked", "outcome_final_at")]
            assert [after[key][name] for name in same] == [before[key][name] for name in same]
            compared += 1
    assert compared > 50
    changed = [key for key in after if key not in clicked_early and after[key] != before.get(key)]
    assert len(changed) > 20  # the afternoon did change


def test_a_capped_user_counts_in_q_as_often_as_training_reads_them(
    simulated_copy: Lake, config: Config, tmp_path: Path
) -> None:
    lake, table = simulated_copy, tables.training_examples(config)
    heavy = lake.day(tables.INTERACTIONS, THIRD).where("clicked").groupBy("user_id").count().orderBy(F.desc("count"), "user_id").first()  # fmt: skip
    assert heavy is not None
    assert heavy["count"] > 3
    own = own_config(tmp_path, "[examples]\nmax_per_user = 2\nunclicked_per_example = 10\n")
    arguments = ["--lake", lake.uri, "--config", own, "--ds", str(THIRD)]
    for job in (build_training_examples, build_item_counts, build_window_counts, build_sampling_probs):
        job.main(arguments)
    examples = lake.day(table, THIRD)
    assert examples.where(F.col("user_id") == heavy.user_id).count() == 2
    assert examples.groupBy("user_id").count().agg(F.max("count")).first()[0] == 2  # type: ignore[index]
    window = lake.window(table, THIRD, config.log.examples_window_days)
    total = window.count()
    wanted = {row.item_id: row["count"] / total for row in window.groupBy("item_id").count().collect()}
    found = lake.day(tables.ITEM_SAMPLING_PROBS, THIRD)
    assert {row.item_id: row.q for row in found.where("q > 0").collect()} == pytest.approx(wanted, abs=1e-15)
    for column in ("q", "q_before", "q_last", "u"):
        assert found.agg(F.sum(column)).first()[0] == pytest.approx(1, abs=1e-9)  # type: ignore[index]
    clicked = lake.day(tables.INTERACTIONS, THIRD).where("clicked").count()
    assert clicked > examples.count()  # so counting clicks would have been wrong
    history = lake.day(tables.USER_HISTORIES, THIRD).where(F.col("user_id") == heavy.user_id).first()
    assert history is not None
    assert len(history.history) >= heavy["count"]  # clicks that are not trained on are in the history too


def test_examples_are_sampled_by_hash(simulated_copy: Lake, config: Config, tmp_path: Path) -> None:
    lake, table = simulated_copy, tables.training_examples(config)
    whole = lake.day(table, THIRD).select("impression_id").localCheckpoint()
    own = own_config(tmp_path, "[examples]\nsample_rate = 0.3\n")
    build_training_examples.main(["--lake", lake.uri, "--config", own, "--ds", str(THIRD)])
    drawn = lake.day(table, THIRD)
    assert 0.2 < drawn.count() / whole.count() < 0.4
    assert drawn.join(whole, "impression_id", "left_anti").isEmpty()


def test_the_row_groups_of_a_day_are_planned_for_its_readers(
    simulated_copy: Lake, config: Config, tmp_path: Path
) -> None:
    lake, table = simulated_copy, tables.training_examples(config)
    own = own_config(tmp_path, "[examples]\nranks = 2\nreaders = 3\nrow_group_rows = 50\n")
    count = build_training_examples.main(["--lake", lake.uri, "--config", own, "--ds", str(THIRD)])
    files = [pq.ParquetFile(file.removeprefix("file://")).metadata for file in lake.pinned(table, THIRD, 1).files]
    sizes = [file.row_group(group).num_rows for file in files for group in range(file.num_row_groups)]
    assert sum(sizes) == count
    assert len(sizes) % 6 == 0
    assert max(sizes) <= 50
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("all", ["a1", "a2", "a3", "a4", "b1", "b2", "none"]),
        ("first_positions", ["a1", "a2", "a3", "b1", "b2"]),
        ("above_last_click", ["a1", "a2", "a3"]),
    ],
)
def test_what_counts_as_exposed(simulated: Lake, rule: str, seen: list[str]) -> None:
    """Request a was clicked at its third position, b at none; one impression has no position."""
    time = dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    shown = [("a1", "a", 1, False), ("a2", "a", 2, False), ("a3", "a", 3, True), ("a4", "a", 4, False), ("b1", "b", 1, False), ("b2", "b", 2, False), ("none", "a", None, False)]  # fmt: skip
    rows = simulated.spark.createDataFrame(
        [(DAYS[0], key, request, "u1", key, place, time, clicked, time if clicked else None, None, time) for key, request, place, clicked in shown],
        tables.INTERACTIONS.pick(*tables.INTERACTIONS.columns[:-1]),
    )  # fmt: skip
    examined = with_examined(rows, rule, 2)
    assert sorted(examined.columns) == sorted(tables.INTERACTIONS.columns)
    found = examined.where("examined").select("impression_id").collect()
    assert sorted(row.impression_id for row in found) == seen


@pytest.mark.parametrize(
    ("rule", "left_out"),
    [("ever", {2, 3, 4}), (2, {3, 4}), (1, {4}), ("never", set())],
)
def test_clicked_items_are_excluded_by_the_configured_rule(
    simulated: Lake, rule: str | int, left_out: set[int]
) -> None:
    """Item 2 was clicked two days ago, 3 yesterday and 4 today."""
    spark, day = simulated.spark, dt.date(2026, 1, 5)
    vocabularies = spark.createDataFrame([("item_id", f"i{n}", n, day) for n in (2, 3, 4)], tables.VOCABULARIES.schema)
    users = spark.createDataFrame([("u1",)], "user_id string")
    histories = spark.createDataFrame([], tables.TIMED_USER_HISTORIES.schema)
    exclusions = load_config().exclusions.model_copy(update={"clicked": rule})
    for number, item in enumerate(("i2", "i3", "i4")):
        ds = day - dt.timedelta(days=2 - number)
        time = dt.datetime.combine(ds, dt.time(9), dt.UTC)
        rows = [(ds, item, "r", "u1", item, 1, time, True, time, None, time, True)]
        clicks = spark.createDataFrame(rows, tables.INTERACTIONS.schema)
        made = build_histories.user_histories(clicks, histories, users, vocabularies, ds, 2, exclusions)
        histories = made.withColumn("ds", F.lit(ds)).select(tables.TIMED_USER_HISTORIES.columns).localCheckpoint()
    (row,) = excluded_items(histories).collect()
    assert set(row.excluded) == left_out
    assert row.history == [3, 4]  # the towers read their history whatever the rule


def test_users_without_a_snapshot_row_have_no_history_row(simulated: Lake) -> None:
    spark, day = simulated.spark, DAYS[0]
    before = spark.createDataFrame([(day, "gone", [2], [(day, [2])], [0]), (day, "here", [3], [(day, [3])], [0])], tables.TIMED_USER_HISTORIES.schema)  # fmt: skip
    nothing = spark.createDataFrame([], tables.INTERACTIONS.schema)
    vocabularies = spark.createDataFrame([], tables.VOCABULARIES.schema)
    users = spark.createDataFrame([("here",)], "user_id string")
    rows = build_histories.user_histories(
        nothing, before, users, vocabularies, day, 5, load_config().exclusions
    ).collect()
    assert [row.user_id for row in rows] == ["here"]
