"""The candidate lists of a simulated day: complete, sorted, better than popularity, readable without Spark."""

from __future__ import annotations

import datetime as dt

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from jobs import (
    build_interactions,
    evaluate_candidates,
    run_day,
)
from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.serving.publications import published_candidates
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, FOURTH = DAYS


def metric(lake: Lake, ds: dt.date, channel: str, name: str, k: int = 20, slice_: str = "all") -> float:
    row = lake.day(tables.EVALUATION, ds).where((F.col("channel") == channel) & (F.col("metric") == name) & (F.col("k") == k) & (F.col("slice") == slice_)).first()  # fmt: skip
    assert row is not None
    return float(row.value)


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


def test_users_without_history_get_popular_items(simulated: Lake) -> None:
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


def test_the_model_is_better_than_popularity(simulated: Lake) -> None:
    assert metric(simulated, SECOND, "candidates", "recall", slice_="warm_users") > 1.1 * metric(
        simulated, SECOND, "popularity", "recall", slice_="warm_users"
    )
    assert metric(simulated, SECOND, "oracle", "recall") > metric(simulated, SECOND, "candidates", "recall")


@pytest.mark.slow
def test_a_model_of_shuffled_labels_is_no_better_than_popularity(simulated_copy: Lake, config: Config) -> None:
    """Each example keeps its user and gets another example's item: only popularity can be learned."""
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
