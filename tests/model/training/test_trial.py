"""A trial as a process: its lines, its end, and what it refuses to measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.tuning import protocol, trial
from jobs.tuning.protocol import Measured, TrialFailed, measured
from model.training.learner import Learner
from model.training.loop import TrainingDiverged
from model.training.spec import TrainingSpec


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Start this code in place of a trial."""

    def started(_: Path) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]

    monkeypatch.setattr(protocol, "_started", started)


@pytest.fixture
def spec(everything: dict[str, Any]) -> TrainingSpec:
    return TrainingSpec.from_json(everything)


def test_lines_of_libraries_are_skipped_and_the_answer_ends_a_trial(
    spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = 'trial: {"epoch": 1, "searched": {"rows": 1, "ndcg": 0.5}, "judged": {"rows": 1, "ndcg": 0.25}}'
    stand_in(
        monkeypatch,
        f"print('{{not a line}}')\nwhile True:\n    print('{line}', flush=True)\n    if input() == 'stop': break",
    )
    found = measured(spec, "ndcg", lambda found: len(found.searched) == 3)
    assert (found.searched, found.judged) == ([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize("ending", ["import os; os._exit(9)", "raise SystemExit(9)"])
def test_a_process_that_ends_is_a_failed_trial(
    spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    stand_in(monkeypatch, ending)
    with pytest.raises(TrialFailed, match="ended with exit code 9"):
        measured(spec, "ndcg", lambda found: False)


def test_weights_that_are_not_finite_are_not_measured(spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "is_finite", lambda self: False)
    with pytest.raises(TrainingDiverged, match="epoch 1 left weights that are NaN or infinite"):
        trial.run_trial(spec)


def test_a_trial_measures_both_halves_of_the_held_out_day(spec: TrainingSpec) -> None:
    found: Measured = measured(spec, "ndcg", lambda found: len(found.searched) == 2)
    assert len(found.searched) == len(found.judged) == 2
    assert found.searched_clicks + found.judged_clicks == spec.data.last_day.rows  # type: ignore[union-attr]
