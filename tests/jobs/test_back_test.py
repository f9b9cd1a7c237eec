"""The back-test shows what training predicted beside what evaluation measured, and measures nothing itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import back_test
from jobs.inference.references import model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, _ = DAYS
PREDICTED = {
    FIRST: ({"user_recall@10": 0.3, "recall@10": 0.9, "rows": 500.0}, {"user_recall@10": 0.1}),
    SECOND: ({"recall@10": 0.2, "rows": 400.0}, None),  # a model of an older version
}


@pytest.fixture
def lake(simulated_copy: Lake) -> Lake:
    """The simulated lake, with models that seem to have measured a held-out day."""
    for day, (validation, popularity) in PREDICTED.items():
        file = Path(model_path(simulated_copy, model_version(simulated_copy, day))) / "model.json"
        manifest = json.loads(file.read_text())
        manifest["metrics"] |= {"validation": validation, "popularity": popularity}
        file.write_text(json.dumps(manifest))
    return simulated_copy


def arguments(lake: Lake, *more: Any) -> list[str]:
    return ["--lake", lake.uri, "--config", SMALL, "--ds", str(FIRST), *map(str, more)]


def reached(lake: Lake, channel: str) -> list[float]:
    return [
        row.value
        for day in (FIRST, SECOND)
        for row in lake.rows(tables.EVALUATION, day)
        if (row.channel, row.metric, row.slice, row.k) == (channel, "recall", "all", 10)
    ]


def test_a_row_per_day_has_what_was_predicted_and_what_was_reached(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert back_test.main(arguments(lake, "--last", THIRD)) == 2
    rows = sorted(lake.rows(tables.BACK_TESTS), key=lambda row: row.ds)
    assert [(row.ds, row.against_from, row.k) for row in rows] == [(FIRST, SECOND, 10), (SECOND, THIRD, 10)]
    assert [row.predicted for row in rows] == [0.3, 0.2]
    assert [row.predicted_clicks for row in rows] == [500, 400]
    assert [row.predicted_popularity for row in rows] == [0.1, None]
    assert [row.reached for row in rows] == reached(lake, "candidates")
    assert [row.reached_popularity for row in rows] == reached(lake, "popularity")
    assert [row.gap for row in rows] == [row.reached - row.predicted for row in rows]
    assert [row.model_version for row in rows] == [model_version(lake, day) for day in (FIRST, SECOND)]
    assert all(row.is_published for row in rows)
    gap = sum(row.gap for row in rows) / 2
    text = capsys.readouterr().out
    assert f"recall@10: reached less predicted is {gap:+.4f}, mean of 2 days, standard error " in text
    assert f"{THIRD}: not evaluated yet: run evaluate_candidates --ds {THIRD}" in text
    back_test.main(arguments(lake, "--last", SECOND))
    assert sorted(lake.rows(tables.BACK_TESTS), key=lambda row: row.ds) == rows


def test_days_without_a_prediction_are_named_and_write_nothing(
    simulated: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=f"no day from {FIRST} to {SECOND} has both a prediction and an evaluation"):
        back_test.main(arguments(simulated, "--last", SECOND))
    assert f"{FIRST}: nothing to compare: no held-out day was measured" in capsys.readouterr().out
    assert not simulated.has(tables.BACK_TESTS)


def test_a_range_that_ends_before_it_begins_is_refused(simulated: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        back_test.main([*arguments(simulated), "--last", "2026-01-01"])
    assert "--last must not be before --ds 2026-02-27, got 2026-01-01" in capsys.readouterr().err
