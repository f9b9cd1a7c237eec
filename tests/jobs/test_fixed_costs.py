"""The tables of a small day: few Spark jobs, each table opened once a job, and the rows that they always had."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.tables.fixed_costs import FEATURES, FIRST, Cost, day_costs
from jobs import ingest_movielens
from jobs.lake.lake import Lake

SECOND = FIRST + dt.timedelta(days=1)
MAX_SPARK_JOBS, MAX_OPENINGS = 70, 22
# Rows of each table on MovieLens' second logical day, and a hash of them without titles, as commit 73c2bf2 built them. A
# change of a table's rows, on purpose, changes its hash: `digest` prints the new one.
EXPECTED = {
    "clicks": (5795, "6e8cbf85519e1d12"),
    "daily_item_counts": (1046, "f554ce4d3c26d9a5"),
    "impressions": (9942, "96f0bba6da393d85"),
    "interactions": (9942, "b5d742f1a7ced276"),
    "item_snapshot": (1682, "16c01608f6114be0"),
    "items": (0, "e3b0c44298fc1c14"),
    "reconciliation": (1, "a6fa5491bb52ce86"),  # since then with the columns of users who are set aside
    "training_examples": (5795, "03cb5b9272688bc3"),
    "user_histories": (928, "2d373ef0e3f6a1d6"),
    "user_snapshot": (943, "6734fba798e6e32b"),
    "users": (0, "e3b0c44298fc1c14"),
    "vocabularies": (2667, "7bf3a4b35fe685f1"),
    "window_item_counts": (1147, "88957ddab271985a"),
}


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, list[Cost]]:
    """A lake with the tables of two logical days of MovieLens, and the costs of the second."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("movielens")))
    ingest_movielens.main(["--lake", lake.uri, "--ds", str(FIRST), "--config", FEATURES])
    day_costs(lake, FIRST)
    return lake, day_costs(lake, SECOND)


def digest(spark: SparkSession, table: Path) -> tuple[int, str]:
    """The number of rows of the second day (of all rows of vocabularies), and a hash of their values in any order."""
    rows = spark.read.format("delta").load(str(table)).drop("title")
    if table.name != "vocabularies":
        rows = rows.where(F.col("ds") == F.lit(SECOND))
    texts = sorted(row[0] for row in rows.select(F.to_json(F.struct(*sorted(rows.columns)))).collect())
    return len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def test_the_tables_have_the_same_rows_as_ever(built: tuple[Lake, list[Cost]], spark: SparkSession) -> None:
    folders = sorted(path.parent for path in Path(built[0].uri).glob("*/_delta_log"))
    assert {folder.name: digest(spark, folder) for folder in folders} == EXPECTED


def test_every_item_of_the_second_day_keeps_its_title(built: tuple[Lake, list[Cost]], spark: SparkSession) -> None:
    rows = spark.read.format("delta").load(f"{built[0].uri}/item_snapshot").where(F.col("ds") == F.lit(SECOND))
    assert rows.where(F.length("title") > 0).count() == 1682


def test_a_small_day_has_few_spark_jobs_and_openings(built: tuple[Lake, list[Cost]]) -> None:
    *_, day = built[1]
    assert day.name == "day"
    assert 0 < day.spark_jobs <= MAX_SPARK_JOBS, built[1]
    assert 0 < day.openings <= MAX_OPENINGS, built[1]


def test_a_job_opens_each_table_once(built: tuple[Lake, list[Cost]]) -> None:
    *costs, _ = built[1]
    assert len(costs) > 8
    assert {cost.name: cost.opened for cost in costs if max(cost.opened.values(), default=0) > 1} == {}
