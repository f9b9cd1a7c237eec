"""The lines that a run prints for each job."""

from __future__ import annotations

import datetime as dt
import io
import re

import pytest
from rich.console import Console

from jobs.cli.display import Display
from jobs.raw_log.preconditions import DayStopped

DAY = dt.date(2026, 3, 1)


def test_each_job_has_a_line_and_the_one_that_fails_is_named() -> None:
    printed = io.StringIO()
    display = Display("title", Console(file=printed, width=100))

    def stop() -> int:
        raise DayStopped("gate", "recall is too low")

    assert display.step("score_users", DAY, lambda: 1_234) == 1_234
    with pytest.raises(DayStopped, match="recall is too low"):
        display.step("gate_candidates", DAY, stop)
    _, scored, failed = (re.sub(r"\d+\.\d s$", "N s", line) for line in printed.getvalue().splitlines())
    assert scored.split() == ["2026-03-01", "score_users", "1,234", "rows", "N", "s"]
    assert failed.split() == ["2026-03-01", "gate_candidates", "failed", "N", "s"]
    assert len(scored) == len(failed)
    assert [step.job for step in display.steps] == ["score_users"]
