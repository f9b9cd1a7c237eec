"""Three simulated days, one after the other: their tables, late clicks, days that run again, other launchers."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import (
    build_negative_pools,
    build_sampling_probs,
    ingest_movielens,
    run_day,
)
from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

FIRST, SECOND, THIRD, FOURTH = DAYS


def same(one: DataFrame, other: DataFrame) -> bool:
    """Whether two frames hold the same rows, each equally often."""
    return one.exceptAll(other).isEmpty() and other.exceptAll(one).isEmpty()


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


def test_a_day_continues_from_the_state_of_the_day_before(simulated: Lake, config: Config) -> None:
    """Histories and snapshots only grow, and the histories of the second day's examples are longer."""
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


def test_late_clicks_give_the_same_tables_as_clicks_on_time(simulated: Lake, config: Config, tmp_path: Path) -> None:
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
            ["--last", str(THIRD), "--skip-done"],
            "--skip-done must not be combined with --last: it records the progress of one day",
        ),
        (
            ["--last", str(THIRD), "--against", str(FOURTH)],
            "--against must not be combined with --last: it evaluates the candidates of one day",
        ),
    ],
)
def test_contradictory_days_are_rejected_before_spark_starts(
    more: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_day.main(["--lake", str(tmp_path / "none"), "--ds", str(SECOND), *more])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.fixture
def as_run(simulated_copy: Lake) -> Lake:
    """The copy without the clicks of the last landed day, which would change the day before."""
    nothing = simulated_copy.read(tables.CLICKS).limit(0)
    simulated_copy.overwrite_where(tables.CLICKS, nothing, f"ds = DATE'{FOURTH}'")
    return simulated_copy


@pytest.mark.slow
def test_a_day_run_again_gives_the_same_tables(as_run: Lake, simulated: Lake, config: Config) -> None:
    build = ["--lake", as_run.uri, "--config", SMALL, "--ds", str(THIRD)]
    run_day.main([*build, "--tables-only"])
    build_negative_pools.main(build)
    build_sampling_probs.main(build)
    unchanged: list[Table] = [
        tables.INTERACTIONS, tables.ITEM_SAMPLING_PROBS, tables.UNCLICKED_ITEMS, tables.VOCABULARIES, tables.USER_HISTORIES,
        tables.training_examples(config), tables.user_snapshot(config), tables.item_snapshot(config),
    ]  # fmt: skip
    for table in unchanged:
        assert same(as_run.read(table), simulated.read(table)), table.name


@pytest.mark.parametrize(
    ("job", "table"),
    slow_after(1, [("build_interactions", tables.INTERACTIONS), ("build_sampling_probs", tables.ITEM_SAMPLING_PROBS)]),
    ids=["interactions", "sampling_probs"],
)
def test_spark_submit_of_a_job_gives_the_table_of_run_day(
    as_run: Lake, simulated: Lake, job: str, table: Table
) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [Path(sys.prefix) / "bin" / "spark-submit", "--master", "local[2]", root / "jobs" / f"{job}.py"]
    command += ["--lake", as_run.uri, "--ds", str(THIRD), "--config", SMALL]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("PYSPARK_GATEWAY_PORT", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    path = as_run.table_path(table)
    fresh = simulated.spark.read.format("delta").option("versionAsOf", DeltaTable(path).version()).load(path)
    assert same(fresh.select(table.columns), simulated.read(table))


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
    assert sizes[1:] == [356, 181]  # a day processes only its own rows
    assert [row.ds for row in lake.read(tables.PUBLICATIONS).orderBy("publication").collect()] == [
        first + dt.timedelta(days=n) for n in range(2)
    ]
    assert lake.read(tables.UNCLICKED_ITEMS).where(F.col("ds") == F.lit(first + dt.timedelta(days=1))).count() > 0
