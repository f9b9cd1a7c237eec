"""What maintenance removes, and what it leaves because readers or a rollback may need it."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs import gate_candidates, maintain_tables, publish_candidates, score_users
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.serving.publication_checks import NotPublishable
from jobs.serving.publications import is_readable
from tests.conftest import DAYS, SMALL

THIRD = DAYS[2]
UNNEEDED = ("clicks", "daily_item_counts", "impressions", "interactions", "items", "oracle", "reconciliation", "users")
DAY_MS = 86_400_000


@pytest.fixture
def published(simulated_copy: Lake) -> Lake:
    """Only the tables that scoring, gate and publication read, because maintenance takes seconds per table."""
    for name in UNNEEDED:
        shutil.rmtree(simulated_copy.path(name))
    return simulated_copy


@pytest.fixture
def bare(published: Lake) -> Lake:
    """Only the tables that say what is in use, and one with rows to compact."""
    kept = {"publications", "model_versions", "item_indexes", "vocabularies"}
    for log in Path(published.uri).glob("*/_delta_log"):
        if log.parent.name not in kept:
            shutil.rmtree(log.parent)
    return published


def age(lake: Lake, days: int) -> None:
    """Make everything that was written or replaced in the candidates so far `days` days older."""
    folder = Path(lake.table_path(tables.CANDIDATES))
    then = time.time() - days * 86_400
    for file in folder.rglob("*"):
        os.utime(file, (then, then))
    for commit in (folder / "_delta_log").glob("*.json"):
        text = commit.read_text()
        older = re.sub(r'"deletionTimestamp":(\d+)', lambda m: f'"deletionTimestamp":{int(m[1]) - days * DAY_MS}', text)
        commit.write_text(older)
        commit.with_name(f".{commit.name}.crc").unlink(missing_ok=True)
        os.utime(commit, (then, then))
    set_published_at(lake, F.col("published_at") - F.make_dt_interval(F.lit(days)))


def set_published_at(lake: Lake, time: Column) -> None:
    rows = lake.read(tables.PUBLICATIONS).localCheckpoint()
    lake.overwrite_where(tables.PUBLICATIONS, rows.withColumn("published_at", time), "publication > 0")
    lake.spark.sql("clear cache")


def publish_at(lake: Lake, seconds: dict[dt.date, float]) -> None:
    """Set the times of the publications of these days, in seconds since 1970."""
    times = F.create_map(*(F.lit(part) for pair in seconds.items() for part in pair))
    set_published_at(lake, F.timestamp_seconds(times[F.col("ds")]))


def publish_again(lake: Lake) -> None:
    arguments = ["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD)]
    for job in (score_users, gate_candidates, publish_candidates):
        job.main(arguments)


@pytest.mark.slow
def test_what_readers_follow_stays_however_old_it_is(published: Lake) -> None:
    """Lists that were published 45 days ago, soon replaced, and rolled back to 8 days ago are as old as at first."""
    lake, before = published, read_candidates(published.uri)
    score_users.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD)])  # and is not published
    age(lake, 45)
    for _ in range(2):  # to the day before, and back again
        publish_candidates.main(["--lake", lake.uri, "--rollback"])
    week_ago = F.current_timestamp() - F.make_dt_interval(F.lit(8))
    set_published_at(lake, F.when(F.col("publication") > 3, week_ago).otherwise(F.col("published_at")))
    maintain_tables.main(["--lake", lake.uri])
    assert read_candidates(lake.uri).equals(before)


@pytest.mark.slow
def test_what_no_publication_of_the_kept_days_needs_is_removed(
    published: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = published
    publish_again(lake)
    age(lake, 45)
    publish_again(lake)
    earlier = F.col("published_at") - F.make_dt_interval(F.lit(40))  # publication 4 was followed until then
    set_published_at(lake, F.when(F.col("publication") == 5, earlier).otherwise(F.col("published_at")))
    now = read_candidates(lake.uri)
    gone, kept = (
        row for row in lake.read(tables.PUBLICATIONS).orderBy("publication").collect() if row.publication in (3, 4)
    )
    maintain_tables.main(["--lake", lake.uri, "--dry-run"])
    assert re.search(r"candidates: [1-9]\d* files would be removed", capsys.readouterr().out)
    assert is_readable(lake, gone)
    maintain_tables.main(["--lake", lake.uri])
    assert "candidates: removed files are kept for 42 days" in capsys.readouterr().out
    assert not is_readable(lake, gone)
    assert is_readable(lake, kept)
    assert read_candidates(lake.uri).equals(now)
    with pytest.raises(NotPublishable, match=r"cannot roll back 2 publications, its files have been removed"):
        publish_candidates.main(["--lake", lake.uri, "--rollback", "2"])


def test_small_files_become_larger_ones_and_the_rows_stay(bare: Lake) -> None:
    lake, table = bare, tables.VOCABULARIES
    before = sorted(map(str, lake.read(table).collect()))
    for number in range(3):
        row = [("item_id", f"more-{number}", 9_000 + number, THIRD)]
        lake.append(table, lake.spark.createDataFrame(row, table.schema))
    files = len(lake.read(table).inputFiles())
    maintain_tables.main(["--lake", lake.uri])
    assert len(lake.read(table).inputFiles()) < files
    assert len(lake.read(table).collect()) == len(before) + 3


def test_folders_of_models_and_indexes_go_when_no_kept_day_names_them(
    bare: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = bare
    models, indexes = Path(lake.path("models")), Path(lake.path("indexes"))
    second, third = (next((indexes / str(day)).glob("*-items")) for day in DAYS[1:3])
    oldest, old_model, model = (row.model_version for row in lake.read(tables.MODEL_VERSIONS).orderBy("ds").collect())
    abandoned = third.with_name("of-a-run-that-was-cut-short-items")
    abandoned.mkdir()
    at = f"{THIRD + dt.timedelta(days=33)}T00:00:00+00:00"  # the second day is 34 days old then, and 33 are kept
    long_ago = dt.datetime.fromisoformat(at).timestamp() - 40 * 86_400
    publish_at(lake, {DAYS[0]: long_ago, DAYS[1]: long_ago + 8 * 86_400, THIRD: long_ago + 11 * 86_400})
    for folder in (third, second, models / oldest, models / old_model, models / model):
        os.utime(folder, (long_ago, long_ago))
    maintain_tables.main(["--lake", lake.uri, "--at", at, "--dry-run"])
    assert f"{second}: would be removed" in capsys.readouterr().out
    assert second.exists()
    maintain_tables.main(["--lake", lake.uri, "--at", at])
    assert not second.exists()
    assert not (models / oldest).exists()
    assert all(folder.exists() for folder in (third, models / model))
    assert (models / old_model).exists()  # it was followed until the third day came
    assert abandoned.exists()  # it is new, so its row may not be written yet
    assert f"{second}: removed" in capsys.readouterr().out


@pytest.mark.slow
def test_models_that_readers_followed_in_the_kept_days_stay(bare: Lake) -> None:
    lake, models = bare, Path(bare.path("models"))
    at = dt.datetime.combine(THIRD + dt.timedelta(days=90), dt.time(), dt.UTC)
    ago = {day: at.timestamp() - days * 86_400 for day, days in zip(DAYS, (50, 40, 10), strict=False)}
    publish_at(lake, ago)
    oldest, old_model, model = (row.model_version for row in lake.read(tables.MODEL_VERSIONS).orderBy("ds").collect())
    for folder in models.iterdir():
        os.utime(folder, (ago[DAYS[0]], ago[DAYS[0]]))
    maintain_tables.main(["--lake", lake.uri, "--at", at.isoformat()])
    assert {folder.name for folder in models.iterdir()} == {old_model, model}, f"{oldest} is wanted by nobody"


def test_less_than_a_week_is_refused(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        maintain_tables.main(["--lake", lake.uri, "--keep-days", "6"])
    assert "must be at least 7 days, got '6'" in capsys.readouterr().err
