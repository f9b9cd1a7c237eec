"""A table whose arrays of structs lack a field that was added since: it is read, and the next day adds the field."""

from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.clock import now
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.snapshots import frames
from jobs.serving import read_candidates
from jobs.serving.publications import published_candidates

DAY, NEXT = dt.date(2026, 3, 1), dt.date(2026, 3, 2)
OLD = "struct('i' as item_id, float(1) as score, 1 as rank, 'two_tower' as source)"
NEW = "struct('j' as item_id, float(.5) as score, 1 as rank, 'popular' as source, float(.7) as channel_score)"


def rows(lake: Lake, structs: str) -> DataFrame:
    """A list of one item, and an empty one."""
    made = lake.spark.sql(f"select explode(array('u', 'v')) as user_id, array({structs}) as candidates")
    emptied = F.when(F.col("user_id") == "v", F.slice("candidates", 1, 0)).otherwise(F.col("candidates"))
    return made.select(
        "user_id", emptied.alias("candidates"), F.lit("m").alias("model_version"), F.lit(now()).alias("scored_at")
    )


@pytest.fixture
def older(lake: Lake) -> Lake:
    """A lake whose lists were written and published before the field was added."""
    made = rows(lake, OLD).withColumn("ds", F.lit(DAY)).select(tables.CANDIDATES.columns)
    made.write.format("delta").partitionBy("ds").save(lake.table_path(tables.CANDIDATES))
    publish(lake, DAY)
    return lake


def publish(lake: Lake, ds: dt.date) -> None:
    before = max((row.publication for row in lake.rows(tables.PUBLICATIONS)), default=0)
    row = (before + 1, before, ds, "m", lake.version(tables.CANDIDATES), 0, 0, 2, now())
    lake.insert(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema))


def channel_scores(frame: DataFrame) -> dict[str, list[float | None]]:
    return {row.user_id: [one.channel_score for one in row.candidates] for row in frame.collect()}


@pytest.mark.parametrize("listed", [True, False], ids=["by name", "by Delta"])
def test_older_lists_are_read_and_the_next_day_adds_the_field(
    older: Lake, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setattr(frames, "can_list_files", lambda snapshot: listed)
    assert channel_scores(older.day(tables.CANDIDATES, DAY)) == {"u": [None], "v": []}
    assert [row.candidates for row in older.rows(tables.CANDIDATES, DAY)] == [
        row.candidates for row in older.day(tables.CANDIDATES, DAY).collect()
    ]
    assert channel_scores(published_candidates(older)) == {"u": [None], "v": []}
    found = read_candidates(older.uri)
    assert (found["score"].tolist(), found["channel_score"].isna().tolist()) == ([1.0], [True])
    older.overwrite(tables.CANDIDATES, NEXT, rows(older, NEW))
    publish(older, NEXT)
    assert channel_scores(older.day(tables.CANDIDATES, NEXT)) == {"u": [pytest.approx(0.7)], "v": []}
    assert channel_scores(older.day(tables.CANDIDATES, DAY)) == {"u": [None], "v": []}
    assert channel_scores(older.day(tables.CANDIDATES, DAY, version=0)) == {"u": [None], "v": []}
    assert read_candidates(older.uri, ["u"])["channel_score"].tolist() == [pytest.approx(0.7)]
