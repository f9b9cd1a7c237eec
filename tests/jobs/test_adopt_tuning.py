"""Settings of a search from day to day, by the jobs and the table: given, tried, adopted, taken back; no day is run."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import adopt_tuning, choose_settings, evaluate_candidates
from jobs.cli.lake import open_lake
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.tuning.adoption.records import CONFIGURED, SettingsNotChosen, add, adoptions, decided, require_settings_chosen
from tests.jobs.tuning.adoption.searches import SETTINGS, leave_search

TUNED = dt.date(2026, 1, 31)
FIRST, SECOND, THIRD, FOURTH = (TUNED + dt.timedelta(days=number) for number in range(1, 5))
TIME = dt.datetime(2026, 2, 2, 6, tzinfo=dt.UTC)
TODAY = load_config().training.temperature


def put(lake: Lake, table: Table, ds: dt.date, **values: Any) -> None:
    """Replace the day by a row with these values, and null in the other columns."""
    row = {"ds": ds, "model_version": f"model of {ds}", **values}
    rows = lake.spark.createDataFrame([tuple(row.get(name) for name in table.columns)], table.schema)
    lake.overwrite(table, ds, rows)


def publish(lake: Lake, ds: dt.date) -> None:
    number = len(lake.rows(tables.PUBLICATIONS)) + 1
    values = dict.fromkeys(tables.PUBLICATIONS.columns) | {"ds": ds, "model_version": f"model of {ds}"}
    lake.insert_row(tables.PUBLICATIONS, {**values, "publication": number, "published_at": TIME})


@pytest.fixture
def temperature(lake: Lake) -> Callable[..., float]:
    """Chooses the settings of a day and returns the temperature that a job of that day reads."""
    put(lake, tables.MODEL_VERSIONS, TUNED)

    def of_day(ds: dt.date, *config: str) -> float:
        overlays = [word for file in config for word in ("--config", file)]
        choose_settings.main(["--lake", lake.uri, "--ds", str(ds), *overlays])
        args = argparse.Namespace(lake=lake.uri, ds=ds, config=list(config), master=None)
        return open_lake(args, "a job", uses_adopted=True)[1].training.temperature

    return of_day


@pytest.fixture
def gate(tmp_path: Path) -> str:
    file = tmp_path / "gate.toml"
    file.write_text('[tuning]\ntake_over = "gate"\n', "utf-8")
    return str(file)


def adopt(lake: Lake, ds: dt.date, *more: str) -> int:
    return adopt_tuning.main(["--lake", lake.uri, "--ds", str(ds), *more])


def test_settings_given_by_hand_hold_from_the_next_day_until_they_are_taken_back(
    lake: Lake, temperature: Callable[..., float]
) -> None:
    leave_search(lake, TUNED, SETTINGS.format(0.123))
    assert temperature(FIRST) == TODAY
    assert not lake.has(tables.ADOPTIONS)  # nothing was taken over: nothing is recorded
    assert [adopt(lake, TUNED), adopt(lake, TUNED)] == [1, 0]
    put(lake, tables.MODEL_VERSIONS, FIRST)
    leave_search(lake, TUNED, SETTINGS.format(0.3))  # a later search of the same day changes nothing
    assert [temperature(day) for day in (SECOND, THIRD)] == [0.123, 0.123]
    assert temperature(FIRST) == TODAY  # it was trained without them
    assert adopt(lake, TUNED, "--withdraw") == 1
    assert temperature(FOURTH) == TODAY
    assert temperature(THIRD) == TODAY  # run again before it is published, it is decided again
    with pytest.raises(ValueError, match="must be the day of a search whose settings were taken over"):
        adopt(lake, TUNED, "--withdraw")


def test_a_published_day_keeps_its_settings_when_they_are_taken_back(
    lake: Lake, temperature: Callable[..., float]
) -> None:
    leave_search(lake, TUNED, SETTINGS.format(0.123))
    adopt(lake, TUNED)
    assert temperature(FIRST) == 0.123
    publish(lake, FIRST)
    adopt(lake, TUNED, "--withdraw")
    assert [temperature(FIRST), temperature(SECOND), temperature(FIRST)] == [0.123, TODAY, 0.123]


def test_a_trial_that_is_published_is_adopted_and_one_that_fails_makes_room_for_it(
    lake: Lake, temperature: Callable[..., float], gate: str
) -> None:
    first = leave_search(lake, TUNED, SETTINGS.format(0.123))
    assert temperature(FIRST, gate) == 0.123
    put(lake, tables.MODEL_VERSIONS, FIRST)
    put(lake, tables.GATE, FIRST, rule="coverage", passed=True)
    publish(lake, FIRST)
    leave_search(lake, FIRST, SETTINGS.format(0.3), compared_with=load_config(first.for_config))
    assert temperature(SECOND, gate) == 0.123  # adopted; one step a day
    assert temperature(THIRD, gate) == 0.3
    put(lake, tables.MODEL_VERSIONS, THIRD)
    put(lake, tables.GATE, THIRD, rule="coverage", passed=False)
    assert temperature(FOURTH, gate) == 0.123
    assert temperature(THIRD, gate) == 0.3  # run again, the day of the trial has its settings
    days = decided(adoptions(lake))
    assert [days[day].state for day in (FIRST, SECOND, THIRD, FOURTH)] == ["trial", "adopted", "trial", "adopted"]
    assert days[SECOND].reason == f"the trial of {FIRST} has passed: the gate let it through and it was published"
    assert days[FOURTH].reason == f"the trial of {THIRD} has failed: rules of the gate did, coverage"
    assert temperature(FOURTH + dt.timedelta(days=1), gate) == 0.123  # it is not tried a second time


def test_a_trial_ends_if_its_day_has_no_model_and_goes_on_if_the_log_stopped_it(
    lake: Lake, temperature: Callable[..., float], gate: str
) -> None:
    leave_search(lake, TUNED, SETTINGS.format(0.123))
    assert temperature(FIRST, gate) == 0.123
    put(lake, tables.MODEL_VERSIONS, FIRST)
    put(lake, tables.GATE, FIRST, rule="input_age_days", passed=False)
    assert temperature(SECOND, gate) == 0.123
    assert temperature(THIRD, gate) == TODAY
    assert "no model was trained" in decided(adoptions(lake))[THIRD].reason


def test_a_trial_whose_publication_was_rolled_back_has_failed(
    lake: Lake, temperature: Callable[..., float], gate: str
) -> None:
    publish(lake, TUNED)
    leave_search(lake, TUNED, SETTINGS.format(0.123))
    assert temperature(FIRST, gate) == 0.123
    put(lake, tables.MODEL_VERSIONS, FIRST)
    publish(lake, FIRST)
    publish(lake, TUNED)
    assert temperature(SECOND, gate) == TODAY
    assert decided(adoptions(lake))[SECOND].reason == f"the trial of {FIRST} has failed: it was rolled back to {TUNED}"


def test_settings_that_became_invalid_stop_only_jobs_that_read_them(
    lake: Lake, temperature: Callable[..., float], tmp_path: Path
) -> None:
    leave_search(lake, TUNED, "[negatives]\nrow = 5\n")
    adopt(lake, TUNED)
    assert temperature(FIRST) == TODAY
    publish(lake, FIRST)
    own = tmp_path / "own.toml"
    own.write_text("[examples]\nunclicked_per_example = 3\n\n[negatives]\nrow = 0\n", "utf-8")
    evaluation = ["--lake", lake.uri, "--ds", str(FIRST), "--config", str(own), "--if-any"]
    for day in (FIRST, SECOND):
        said = f"search again, or take them back with adopt-tuning --ds {TUNED} --withdraw, and run {day} again from"
        with pytest.raises(ValueError, match=said):
            temperature(day, str(own))
        assert evaluate_candidates.main(evaluation) == 0
    adopt(lake, TUNED, "--withdraw")
    assert temperature(SECOND, str(own)) == TODAY
    assert evaluate_candidates.main(evaluation) == 0  # the evaluation of a published day is part of the next day


def test_a_day_before_a_published_one_is_no_trial(lake: Lake, temperature: Callable[..., float], gate: str) -> None:
    leave_search(lake, TUNED, SETTINGS.format(0.123))
    publish(lake, SECOND)
    assert temperature(FIRST, gate) == TODAY
    assert temperature(THIRD, gate) == 0.123


def test_of_two_decisions_at_once_one_is_made_and_no_day_trains_undecided(lake: Lake) -> None:
    known = adoptions(lake)
    add(lake, known, CONFIGURED, FIRST, None, "first", TIME)
    with pytest.raises(KeyConflict):
        add(lake, known, CONFIGURED, SECOND, None, "second", TIME)
    assert [row.reason for row in adoptions(lake)] == ["first"]
    require_settings_chosen(lake, TUNED)  # before the first decision
    with pytest.raises(SettingsNotChosen, match=f"run choose_settings for {SECOND}"):
        require_settings_chosen(lake, SECOND)
    put(lake, tables.MODEL_VERSIONS, SECOND)
    require_settings_chosen(lake, SECOND)  # it was trained before
    require_settings_chosen(lake.of_variant("mns"), SECOND)
