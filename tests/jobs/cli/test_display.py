"""The lines that a run prints for each job."""

from __future__ import annotations

import datetime as dt
import io
import json
import re

import pytest
from rich.console import Console

from jobs import build_histories, build_interactions, run_day
from jobs.cli.display import Display
from jobs.raw_log.preconditions import DayStopped
from model.training.processes.lines import output_form

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


def test_programs_get_each_job_as_an_object_with_its_rows_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> int:
        raise DayStopped("gate", "recall is too low")

    with output_form("json", verbose=False):
        display = Display("title")
        display.step("score_users", DAY, lambda: 1_234)
        with pytest.raises(DayStopped):
            display.step("gate_candidates", DAY, stop)
        display.step("report_run", DAY, lambda: 20)
        display.skipped("report_run", DAY)
        display.left(DAY, "[empty_day] no log")
        display.summary()
    printed = capsys.readouterr()
    title, scored, reported, skipped, left, summary = map(json.loads, printed.out.splitlines())
    failed = json.loads(printed.err)
    assert (title["message"], title["job"]) == ("title", None)
    assert (scored["job"], scored["ds"], scored["rows"], scored["level"]) == ("score_users", str(DAY), 1_234, "info")
    assert scored["seconds"] < 60
    assert (reported["count"], reported["counted"], "rows" in reported) == (20, "sections of the report", False)
    assert reported["message"].startswith(f"report_run {DAY}: 20 sections of the report, ")
    assert (failed["job"], failed["level"]) == ("gate_candidates", "error")
    assert (skipped["job"], skipped["message"]) == ("report_run", f"report_run {DAY}: ended in an earlier attempt")
    assert (left["ds"], left["message"]) == (str(DAY), f"{DAY}: not run to its end: [empty_day] no log")
    assert summary["runs"] == 2


def test_a_file_gets_a_table_only_if_a_job_ran_more_than_once() -> None:
    printed = io.StringIO()
    display = Display("title", Console(file=printed, width=100))
    display.step("score_users", DAY, lambda: 1_234)
    display.summary()
    assert re.fullmatch(r"1 runs of jobs, \d+\.\d s", printed.getvalue().splitlines()[-1])
    display.step("score_users", DAY, lambda: 2)
    display.summary()
    assert re.search(r"score_users\W+2\W+1,236\W", printed.getvalue())


def test_a_terminal_shows_which_job_of_the_day_runs() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    printed = Terminal()
    display = Display("title", Console(file=printed, width=120, force_terminal=True))
    display.at(build_histories, [build_interactions, build_histories, *run_day.WINDOW_JOBS])
    display.step("build_histories", DAY, lambda: 1)
    assert f"2 of {2 + len(run_day.WINDOW_JOBS)}  {DAY}  build_histories" in printed.getvalue()
