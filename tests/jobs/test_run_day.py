"""Three days in a row on a planted world, and what must hold of the tables that they leave."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import (
    build_interactions,
    build_negative_pools,
    build_sampling_probs,
    evaluate_candidates,
    ingest_movielens,
    run_day,
    simulate_log,
    train_two_tower,
)
from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.serving import read_candidates
from jobs.serving.publications import published_candidates
from jobs.training.spec import training_spec
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

FIRST, SECOND, THIRD, FOURTH = DAYS


def same(one: DataFrame, other: DataFrame) -> bool:
    """Whether two frames hold the same rows, as often."""
    return one.exceptAll(other).isEmpty() and other.exceptAll(one).isEmpty()


def metric(lake: Lake, ds: dt.date, channel: str, name: str, k: int = 20, slice_: str = "all") -> float:
    row = lake.day(tables.EVALUATION, ds).where((F.col("channel") == channel) & (F.col("metric") == name) & (F.col("k") == k) & (F.col("slice") == slice_)).first()  # fmt: skip
    assert row is not None
    return float(row.value)


def test_each_day_has_its_own_partition_of_every_table(simulated: Lake, config: Config) -> None:
    per_day = [
        tables.INTERACTIONS, tables.user_snapshot(config), tables.item_snapshot(config), tables.training_examples(config),
        tables.USER_HISTORIES, tables.DAILY_ITEM_COUNTS, tables.ITEM_SAMPLING_PROBS, tables.MODEL_VERSIONS,
        tables.POPULAR_ITEMS, tables.USER_EMBEDDINGS, tables.ITEM_EMBEDDINGS, tables.ITEM_INDEXES, tables.CANDIDATES,
        tables.GATE,
    ]  # fmt: skip
    for table in per_day:
        days = {row.ds for row in simulated.read(table).select("ds").distinct().collect()}
        assert days == {FIRST, SECOND, THIRD}, table.name


def test_a_day_builds_on_the_state_of_the_day_before(simulated: Lake, config: Config) -> None:
    """Histories and snapshots only grow, and each examples' history is older than its own day's start plus its clicks."""
    for before, after in ((FIRST, SECOND), (SECOND, THIRD)):
        for table, key in (
            (tables.USER_HISTORIES, "user_id"),
            (tables.item_snapshot(config), "item_id"),
            (tables.user_snapshot(config), "user_id"),
        ):
            assert simulated.day(table, before).join(simulated.day(table, after), key, "left_anti").isEmpty()
        old, new = (
            excluded_items(simulated.day(tables.USER_HISTORIES, day)).withColumnRenamed("excluded", str(day))
            for day in (before, after)
        )
        lost = old.join(new, "user_id").where(F.size(F.array_except(str(before), str(after))) > 0)
        assert lost.isEmpty()
    first, second = (
        simulated.day(tables.training_examples(config), day).agg(F.avg(F.size(F.array_remove("history", 0)))).first()[0]
        for day in (FIRST, SECOND)
    )  # type: ignore[index]
    assert second > first


def test_late_clicks_are_in_the_day_of_their_impression(simulated: Lake) -> None:
    landed_late = simulated.day(tables.CLICKS, SECOND).where(F.to_date("clicked_at") == F.lit(FIRST))
    assert landed_late.count() > 10
    found = simulated.day(tables.INTERACTIONS, FIRST).where("clicked").join(landed_late, "impression_id", "left_semi")
    assert found.count() == landed_late.select("impression_id").distinct().count()


def test_what_follows_from_late_clicks_equals_a_day_that_had_them_on_time(
    simulated: Lake, config: Config, tmp_path: Path
) -> None:
    """The raw log again with every click landing on its impression's day: the same tables, row for row."""
    on_time = Lake(simulated.spark, str(tmp_path / "on_time"))
    for name in ("impressions", "users", "items"):
        shutil.copytree(simulated.path(name), on_time.path(name))
    clicks = simulated.read(tables.CLICKS).where(F.col("ds") <= F.lit(SECOND)).withColumn("ds", F.to_date("clicked_at"))
    on_time.overwrite_days(tables.CLICKS, [FIRST, SECOND], clicks)
    days = ["--ds", str(FIRST), "--last", str(SECOND), "--tables-only"]
    run_day.main(["--lake", on_time.uri, "--config", SMALL, *days])
    # indices follow the order in which ids appear: the same ids, and here the same days, so the same indices
    for table in (
        tables.INTERACTIONS,
        tables.DAILY_ITEM_COUNTS,
        tables.WINDOW_ITEM_COUNTS,
        tables.USER_HISTORIES,
        tables.training_examples(config),
    ):
        assert same(simulated.day(table, FIRST), on_time.day(table, FIRST)), table.name
    for job in (build_negative_pools, build_sampling_probs):
        job.main(["--lake", on_time.uri, "--config", SMALL, "--ds", str(SECOND)])
    for table in (tables.UNCLICKED_ITEMS, tables.ITEM_SAMPLING_PROBS):
        assert same(simulated.day(table, SECOND), on_time.day(table, SECOND)), table.name


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--last", str(FIRST)], f"--last must not be before --ds {SECOND}, got {FIRST}"),
        (
            ["--last", str(THIRD), "--against", str(FOURTH)],
            "--against must not be combined with --last: it evaluates the candidates of one day",
        ),
    ],
)
def test_days_that_make_no_sense_are_refused_before_spark_starts(
    more: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_day.main(["--lake", str(tmp_path / "none"), "--ds", str(SECOND), *more])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_every_user_has_as_many_candidates_as_the_catalogue_allows(simulated: Lake, config: Config) -> None:
    lists = simulated.day(tables.CANDIDATES, THIRD)
    assert (
        lists.count()
        == lists.select("user_id").distinct().count()
        == simulated.day(tables.user_snapshot(config), THIRD).count()
        == 400
    )
    items = simulated.day(tables.item_snapshot(config), THIRD)
    clicked = excluded_items(simulated.day(tables.USER_HISTORIES, THIRD)).select(
        "user_id", F.explode("excluded").alias("item_index")
    )
    excluded = (
        clicked.join(items.where("available"), "item_index")
        .groupBy("user_id")
        .agg(F.collect_set("item_id").alias("excluded"))
    )
    rows = lists.join(excluded, "user_id", "left").withColumn(
        "excluded", F.coalesce("excluded", F.array().cast("array<string>"))
    )
    available = items.where("available").count()
    wanted = F.least(F.lit(config.scoring.candidates_per_user), F.lit(available) - F.size("excluded"))
    ids, scores, ranks = F.col("candidates.item_id"), F.col("candidates.score"), F.col("candidates.rank")
    for name, fault in {
        "short": F.size("candidates") != wanted,
        "twice": F.size(F.array_distinct(ids)) != F.size(ids),
        "already clicked": F.arrays_overlap(ids, "excluded"),
        "scores rise": scores != F.reverse(F.array_sort(scores)),
        "ranks": ranks != F.sequence(F.lit(1), F.size("candidates")),
    }.items():
        assert rows.where(fault).isEmpty(), name
    shown = lists.select(F.explode("candidates.item_id").alias("item_id"))
    assert shown.join(items.where("available"), "item_id", "left_anti").isEmpty()


def test_users_without_history_get_popular_items_and_are_told_apart(simulated: Lake) -> None:
    lists = simulated.day(tables.CANDIDATES, THIRD).select(
        "user_id", "candidates.item_id", F.array_distinct("candidates.source").alias("sources")
    )
    warm = lists.join(simulated.day(tables.USER_HISTORIES, THIRD), "user_id", "left_semi")
    cold = lists.join(simulated.day(tables.USER_HISTORIES, THIRD), "user_id", "left_anti")
    assert cold.count() > 10
    assert [tuple(row.sources) for row in cold.select("sources").distinct().collect()] == [("popular",)]
    assert cold.select("item_id").distinct().count() == 1
    assert [tuple(row.sources) for row in warm.select("sources").distinct().collect()] == [("two_tower",)]
    assert warm.select("item_id").distinct().count() > 0.9 * warm.count()  # different histories, different lists


def test_rows_are_sorted_by_user_within_a_file(simulated: Lake) -> None:
    pinned = simulated.pinned(tables.CANDIDATES, THIRD, 1)
    for file in pinned.files:
        users = pl.read_parquet(file.removeprefix("file://"), columns=["user_id"])["user_id"]
        assert users.is_sorted()


def test_the_model_finds_what_popularity_does_not(simulated: Lake) -> None:
    assert metric(simulated, SECOND, "candidates", "recall", slice_="warm_users") > 1.1 * metric(
        simulated, SECOND, "popularity", "recall", slice_="warm_users"
    )
    assert metric(simulated, SECOND, "oracle", "recall") > metric(simulated, SECOND, "candidates", "recall")


@pytest.mark.slow
def test_a_model_of_shuffled_labels_is_no_better_than_popularity(simulated_copy: Lake, config: Config) -> None:
    """Each example keeps its user and gets the item of another: nothing is left to learn but popularity."""
    lake, table = simulated_copy, tables.training_examples(config)
    for day in (FIRST, SECOND, THIRD):
        rows = lake.day(table, day).toPandas()
        rows[["item_id", "item_index"]] = rows[["item_id", "item_index"]].sample(frac=1, random_state=7).to_numpy()
        lake.overwrite(table, day, lake.spark.createDataFrame(rows, table.schema))
    arguments = ["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD)]
    for job in run_day.MODEL_JOBS:
        job.main(arguments)
    build_interactions.main(["--lake", lake.uri, "--ds", str(FOURTH)])
    evaluate_candidates.main(arguments)
    assert metric(lake, THIRD, "candidates", "recall", slice_="warm_users") <= metric(
        lake, THIRD, "popularity", "recall", slice_="warm_users"
    )


@pytest.fixture
def as_it_was_run(simulated_copy: Lake) -> Lake:
    """The copy without the day that landed last: its late clicks would, rightly, change the day before."""
    nothing = simulated_copy.read(tables.CLICKS).limit(0)
    simulated_copy.overwrite_where(tables.CLICKS, nothing, f"ds = DATE'{FOURTH}'")
    return simulated_copy


@pytest.mark.parametrize("variant", slow_after(1, ["mns", "cbns", "mixed"]))
def test_a_variant_of_each_preset_trains_beside_the_main_model(simulated_copy: Lake, variant: str) -> None:
    before = simulated_copy.version(tables.MODEL_VERSIONS)
    arguments = ["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(THIRD), "--variant", variant]
    assert train_two_tower.main(arguments) > 0
    beside = Lake(simulated_copy.spark, simulated_copy.uri, variant)
    row = beside.day(tables.MODEL_VERSIONS, THIRD).first()
    assert row is not None
    assert (Path(beside.model_path("models")) / row.model_version / "weights.safetensors").is_file()
    assert simulated_copy.version(tables.MODEL_VERSIONS) == before


@pytest.mark.slow
def test_all_that_the_loss_can_take_goes_all_the_way(simulated_with_variant: Lake) -> None:
    """Row negatives, rewards, the stream's counts, a learned temperature, a bank that warms up by drift."""
    beside = Lake(simulated_with_variant.spark, simulated_with_variant.uri, "everything")
    row = beside.day(tables.MODEL_VERSIONS, THIRD).first()
    assert row is not None
    manifest = Path(beside.model_path("models")) / row.model_version / "model.json"
    metrics = json.loads(manifest.read_text("utf-8"))["metrics"]
    assert metrics["temperature"] != pytest.approx(0.15, rel=1e-4)
    assert metrics["bank_warm_at"] is not None
    assert 0 < metrics["estimator"]["log_ratio"] < 1
    assert metrics["estimator"]["items"] > 100


def test_an_outcome_is_final_before_the_end_of_the_day_that_is_trained_for(simulated: Lake, config: Config) -> None:
    loss = training_spec(simulated, config, THIRD).loss
    assert dt.datetime.fromtimestamp(loss.final_before, dt.UTC) == dt.datetime.combine(FOURTH, dt.time(), dt.UTC)


@pytest.mark.slow
def test_a_day_run_again_gives_the_same_tables(as_it_was_run: Lake, simulated: Lake, config: Config) -> None:
    build = ["--lake", as_it_was_run.uri, "--config", SMALL, "--ds", str(THIRD)]
    run_day.main([*build, "--tables-only"])
    build_negative_pools.main(build)
    build_sampling_probs.main(build)
    unchanged: list[Table] = [
        tables.INTERACTIONS, tables.ITEM_SAMPLING_PROBS, tables.UNCLICKED_ITEMS, tables.VOCABULARIES, tables.USER_HISTORIES,
        tables.training_examples(config), tables.user_snapshot(config), tables.item_snapshot(config),
    ]  # fmt: skip
    for table in unchanged:
        assert same(as_it_was_run.read(table), simulated.read(table)), table.name


def test_spark_submit_of_single_jobs_gives_the_tables_of_run_day(as_it_was_run: Lake, simulated: Lake) -> None:
    submit = Path(sys.prefix) / "bin" / "spark-submit"
    root = Path(__file__).resolve().parents[2]
    for job in ("build_interactions", "build_sampling_probs"):
        command = [
            submit,
            "--master",
            "local[2]",
            root / "jobs" / f"{job}.py",
            "--lake",
            as_it_was_run.uri,
            "--ds",
            str(THIRD),
            "--config",
            SMALL,
        ]
        environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        environment.pop("PYSPARK_GATEWAY_PORT", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    for table in (tables.INTERACTIONS, tables.ITEM_SAMPLING_PROBS):
        path = as_it_was_run.table_path(table)
        fresh = simulated.spark.read.format("delta").option("versionAsOf", DeltaTable(path).version()).load(path)
        assert same(fresh.select(table.columns), simulated.read(table)), table.name


def test_what_is_published_is_read_without_spark(simulated: Lake, config: Config) -> None:
    current = published_candidates(simulated)
    assert {row.ds for row in current.select("ds").distinct().collect()} == {THIRD}
    user = current.orderBy("user_id").first()
    assert user is not None
    listed = read_candidates(simulated.uri, [user.user_id])
    assert list(listed["item_id"]) == [candidate.item_id for candidate in user.candidates]
    assert list(listed["rank"]) == list(range(1, len(user.candidates) + 1))
    assert read_candidates(simulated.uri)["user_id"].nunique() == current.count()
    assert read_candidates(simulated.uri, ["nobody"]).empty


def test_the_candidates_table_opens_in_delta_rs_duckdb_and_polars(simulated: Lake) -> None:
    path = simulated.table_path(tables.CANDIDATES)
    rows = simulated.read(tables.CANDIDATES).count()
    files = DeltaTable(path).file_uris()
    counted = duckdb.execute(
        "select count(*), min(ds) from read_parquet(?, hive_partitioning = true)", [files]
    ).fetchone()
    assert counted == (rows, FIRST)
    assert pl.read_delta(path).height == rows


ALL_KINDS = """
[[features.user]]
name = "history"
kind = "item_list"
length = 5
dim = 16
[[features.user]]
name = "taste"
kind = "vector"
length = 4
dim = 16
[[features.user]]
name = "saved"
kind = "item_list"
length = 3
dim = 16
[[features.item]]
name = "item_id"
kind = "id"
dim = 16
[[features.item]]
name = "image"
kind = "vector"
length = 8
dim = 16
[[features.item]]
name = "shelves"
kind = "categorical"
length = 2
dim = 8
[[features.item]]
name = "price"
kind = "numeric"
dim = 4
[model]
embedding_dim = 24
hidden = [32]
[training]
epochs = 2
batch_size = 128
"""


@pytest.mark.slow
def test_every_kind_of_feature_goes_all_the_way(lake: Lake, tmp_path: Path) -> None:
    """No user id, a vector and a list of items on the user's side, a many-valued category, hidden layers."""
    own = tmp_path / "own.toml"
    own.write_text(ALL_KINDS, "utf-8")
    common = ["--lake", lake.uri, "--config", str(own), "--ds", str(FIRST)]
    simulate_log.main([*common, "--users", "150", "--items", "150"])
    run_day.main(common)
    row = lake.read(tables.ITEM_EMBEDDINGS).first()
    assert row is not None
    assert len(row.embedding) == 24
    assert sum(value**2 for value in row.embedding) == pytest.approx(1, abs=1e-5)
    assert read_candidates(lake.uri)["user_id"].nunique() == 150


@pytest.mark.slow
def test_three_real_days_in_a_row(lake: Lake, data: Path, tmp_path: Path) -> None:
    """MovieLens with its real times: a backlog lands on the first day, then each day its own ratings."""
    first = dt.date(2000, 7, 31)
    quick = tmp_path / "quick.toml"
    quick.write_text(
        Path(SMALL)
        .read_text("utf-8")
        .replace("epochs = 3", "epochs = 1")
        .replace("[index]", '[index]\nbuild_backends = ["exact"]'),
        "utf-8",
    )
    common = ["--lake", lake.uri, "--config", str(quick)]
    for number in range(3):
        day = first + dt.timedelta(days=number)
        backlog = ["--backlog"] if number == 0 else []
        ingest_movielens.main([*common, "--ds", str(day), "--source", str(data / "ml-latest-small"), *backlog])
        run_day.main([*common, "--ds", str(day), *(["--tables-only"] if number == 2 else [])])
    sizes = [lake.day(tables.INTERACTIONS, first + dt.timedelta(days=number)).count() for number in range(3)]
    assert sizes[0] > 10_000
    assert sizes[1:] == [356, 181]  # the cost of a day is the day's own rows
    assert [row.ds for row in lake.read(tables.PUBLICATIONS).orderBy("publication").collect()] == [
        first + dt.timedelta(days=n) for n in range(2)
    ]
    assert lake.read(tables.UNCLICKED_ITEMS).where(F.col("ds") == F.lit(first + dt.timedelta(days=1))).count() > 0
