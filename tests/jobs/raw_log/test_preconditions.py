"""Days that lack the data for training: each stops with its code, and the last publication stays."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField, StructType

from jobs import build_interactions, build_reconciliation, rebuild_days, run_day, train_two_tower
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.raw_log.preconditions import DayStopped, require_previous_days_run, require_trainable_day
from jobs.serving import read_candidates
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

THIRD, FOURTH = DAYS[2:]


def spoil(lake: Lake, kind: str) -> None:
    """Change the log of the fourth day so that it lacks a precondition: impressions, clicks, a second user or item."""
    shown = lake.day(tables.IMPRESSIONS, FOURTH).localCheckpoint()
    clicks = lake.day(tables.CLICKS, FOURTH).localCheckpoint()
    first = shown.orderBy("user_id").first()
    assert first is not None
    if kind == "empty_day":
        shown = shown.limit(0)
    elif kind == "no_clicks":
        clicks = clicks.limit(0)
    elif kind == "one_user":
        shown = shown.withColumn("user_id", F.lit(first.user_id))
    else:
        shown = shown.withColumn("item_id", F.lit(first.item_id))
    for table, rows in ((tables.IMPRESSIONS, shown), (tables.CLICKS, clicks)):
        lake.overwrite(table, FOURTH, rows)


@pytest.mark.parametrize("kind", slow_after(2, ["empty_day", "no_clicks", "one_user", "one_item"]))
def test_a_day_without_its_preconditions_stops_with_a_code_before_training(simulated_copy: Lake, kind: str) -> None:
    lake = simulated_copy
    spoil(lake, kind)
    arguments = ["--lake", lake.uri, "--config", SMALL, "--ds", str(FOURTH)]
    version = lake.version(tables.MODEL_VERSIONS)

    def run() -> None:
        for job in (build_interactions, build_reconciliation, train_two_tower):
            job.main(arguments)

    with pytest.raises(DayStopped) as stop:
        run()
    assert stop.value.code == kind
    assert lake.version(tables.MODEL_VERSIONS) == version


@pytest.mark.parametrize(
    ("more", "named"),
    slow_after(
        1,
        [
            (["--from", "build_interactions", "--to", "build_window_counts"], FOURTH),  # a stage of the DAG
            # of a range without any log, the last day is named
            (["--last", str(FOURTH + dt.timedelta(days=1))], FOURTH + dt.timedelta(days=1)),
        ],
    ),
    ids=["stage", "range"],
)
def test_an_empty_day_publishes_nothing_and_ends_with_its_code(
    simulated_copy: Lake, more: list[str], named: dt.date
) -> None:
    lake = simulated_copy
    spoil(lake, "empty_day")
    before = read_candidates(lake.uri)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "jobs.run_day", "--lake", lake.uri, "--config", SMALL, "--ds", str(FOURTH)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert error.startswith(f"error [empty_day]: no impression landed on {named}")
    after = read_candidates(lake.uri)
    assert after.equals(before)
    assert lake.day(tables.INTERACTIONS, FOURTH).isEmpty()


def landed(lake: Lake, *days: dt.date) -> None:
    """One impression on each day."""
    for day in days:
        at = dt.datetime.combine(day, dt.time(10), dt.UTC)
        values = [("r", "u", "i", 1, at, str(day), day)]
        columns = "request_id string, user_id string, item_id string, position int, impressed_at timestamp, "
        rows = lake.spark.createDataFrame(values, columns + "impression_id string, ds date")
        lake.overwrite(tables.IMPRESSIONS, day, rows.select(tables.IMPRESSIONS.columns))


def test_the_first_day_that_is_run_is_the_first_that_landed_unless_earlier_ones_are_left_on_purpose(lake: Lake) -> None:
    before, first, second = (dt.date(2026, 1, number) for number in (1, 2, 3))
    landed(lake, before, first, second)
    command = ["--lake", lake.uri, "--config", SMALL, "--to", "rebuild_days", "--ds"]
    wanted = f"{first} depends on {before}, which has landed but was not run: run {before} first, or .*--leave-earlier"
    for run in (run_day.main, lambda words: rebuild_days.main([*words[:4], *words[-2:]])):
        with pytest.raises(DayStopped, match=wanted) as stop:
            run([*command, str(first)])
        assert stop.value.code == "day_not_run"
    assert not lake.has(tables.INTERACTIONS)
    run_day.main([*command, str(first), "--leave-earlier-days"])
    assert lake.has_day(tables.INTERACTIONS, first)
    run_day.main([*command, str(before)])  # earlier days can be run afterwards
    counts = {"ds": before, "item_id": "i"}
    row = tuple(counts.get(name) for name in tables.DAILY_ITEM_COUNTS.columns)
    lake.overwrite(tables.DAILY_ITEM_COUNTS, before, lake.spark.createDataFrame([row], tables.DAILY_ITEM_COUNTS.schema))
    with pytest.raises(
        DayStopped, match=f"{second} depends on {first}, which has landed but was not run: run {first} first$"
    ):
        require_previous_days_run(lake, second, 30, leaves_earlier=True)  # a gap between days is never left


@pytest.mark.parametrize("name", ["users", "items"])
def test_what_landed_with_other_features_is_refused_before_the_first_job(lake: Lake, name: str) -> None:
    landed(lake, DAYS[0])
    table = {table.name: table for table in (tables.users(load_config()), tables.items(load_config()))}[name]
    more = StructType([*table.schema, StructField("country", IntegerType())])
    row = tuple(DAYS[0] if field == "ds" else None for field in more.fieldNames())
    lake.overwrite(replace(table, schema=more), DAYS[0], lake.spark.createDataFrame([row], more))
    with pytest.raises(SchemaMismatch, match=rf"table {name}: unexpected country.*; was --config forgotten, or"):
        run_day.main(["--lake", lake.uri, "--ds", str(DAYS[0])])
    assert not lake.has(tables.INTERACTIONS)


def test_a_day_that_was_not_reconciled_is_not_trained_on(lake: Lake) -> None:
    with pytest.raises(DayStopped, match="2026-01-05 was not reconciled: run build_reconciliation"):
        require_trainable_day(lake, dt.date(2026, 1, 5))


def test_run_day_stops_at_a_day_that_did_not_land(lake: Lake) -> None:
    landed(lake, dt.date(2026, 1, 6))
    with pytest.raises(DayStopped, match="no impression landed on 2026-01-05"):
        run_day.main(["--lake", lake.uri, "--config", SMALL, "--ds", "2026-01-05"])
    assert [path.name for path in Path(lake.uri).iterdir()] == ["impressions"]
