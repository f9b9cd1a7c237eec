"""Lines of text for people and of JSON for programs, and what libraries log beside them."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from jobs.tuning import trial
from model.training import fit
from model.training.processes.lines import (
    CRASH,
    DAY,
    FORMAT,
    JOB,
    JVM_LEVEL,
    JVM_LEVELS,
    QUIET,
    VERBOSE,
    hides_library_output,
    library_output,
    lines_of,
    output_form,
    say,
    warn,
)


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FORMAT, VERBOSE, JOB, DAY, JVM_LEVEL, *QUIET):
        monkeypatch.delenv(name, raising=False)


def test_people_read_text_and_errors_are_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("landed", rows=3)
    say("10 steps", text="  10 steps")
    warn("no clicks")
    say("bad", level="error", text="error: bad")
    printed = capsys.readouterr()
    assert printed.out == "landed\n  10 steps\nwarning: no clicks\n"
    assert printed.err == "error: bad\n"


def test_programs_read_an_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    before = dt.datetime.now(dt.UTC)
    with output_form("json", verbose=False):
        with lines_of("build_histories", dt.date(2026, 1, 5)):
            say("two\nlines — ünï", text="not this", rows=3, seconds=float("nan"), day=dt.date(2026, 1, 4))
        warn("no clicks")
        say("bad", level="error")
    printed = capsys.readouterr()
    first, second = map(json.loads, printed.out.splitlines())
    time = dt.datetime.fromisoformat(first.pop("time"))
    assert before - dt.timedelta(seconds=1) < time <= dt.datetime.now(dt.UTC)
    assert first == {
        "level": "info", "job": "build_histories", "ds": "2026-01-05", "message": "two\nlines — ünï",
        "rows": 3, "seconds": None, "day": "2026-01-04",
    }  # fmt: skip
    assert (second["level"], second["job"], second["ds"], second["message"]) == ("warning", None, None, "no clicks")
    assert json.loads(printed.err)["level"] == "error"


def test_a_process_that_is_started_meanwhile_prints_in_the_same_form(capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess

    code = "from model.training.processes.lines import say; say('trained', steps=7)"
    with output_form("json", verbose=False), lines_of("train_two_tower", "2026-01-05"):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    line = json.loads(capfd.readouterr().out)
    assert (line["job"], line["ds"], line["steps"]) == ("train_two_tower", "2026-01-05", 7)
    assert not {FORMAT, JOB, DAY} & os.environ.keys()


def test_libraries_are_heard_only_with_their_errors(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("alembic.test")
    library.setLevel(logging.INFO)
    with library_output():
        assert hides_library_output()
        library.info("Running upgrade")
        library.warning("deprecated")
        library.error("cannot upgrade")
        warnings.warn("FutureWarning of a library", FutureWarning, stacklevel=1)
        assert {name: os.environ[name] for name in QUIET} == QUIET
    assert not hides_library_output()
    assert capsys.readouterr().err.splitlines() == ["ERROR alembic.test: cannot upgrade"]
    assert not QUIET.keys() & os.environ.keys()


def test_what_a_program_has_silenced_itself_stays_so() -> None:
    logging.disable(logging.ERROR)
    try:
        assert not hides_library_output()
        with library_output():
            assert logging.root.manager.disable == logging.ERROR
        assert logging.root.manager.disable == logging.ERROR
    finally:
        logging.disable(logging.NOTSET)


def test_a_crash_of_a_trainer_or_a_trial_is_a_line_of_json(
    everything: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    file = tmp_path / "spec.json"
    file.write_text(json.dumps(everything), "utf-8")
    monkeypatch.setattr(fit, "fit", crash)
    monkeypatch.setattr(trial, "run_trial", crash)
    monkeypatch.setattr(sys, "argv", ["program", str(file)])
    for program in (fit, trial):
        monkeypatch.setattr(program, "end_with_parent", lambda: None)
        with pytest.raises(RuntimeError):
            program.main()
        with output_form("json", verbose=False), pytest.raises(SystemExit) as stop:
            program.main()
        (line,) = map(json.loads, capsys.readouterr().err.splitlines())
        assert (stop.value.code, line["exit_code"], line["message"]) == (
            CRASH,
            CRASH,
            "RuntimeError: CUDA out of memory",
        )
        assert "in crash" in line["traceback"]


def test_numbers_that_json_does_not_know_are_null_wherever_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with output_form("json", verbose=False):
        say("x", values={"loss": [1.5, float("nan")]}, pair=(float("inf"), 2))
    line = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (line["values"], line["pair"]) == ({"loss": [1.5, None]}, [None, 2])


def test_verbose_shows_what_libraries_log(capsys: pytest.CaptureFixture[str]) -> None:
    with output_form(None, verbose=True), library_output():
        logging.getLogger("mlflow.test").info("creating tables")
        assert not hides_library_output()
        assert os.environ[JVM_LEVEL] == "info"
    assert "INFO mlflow.test: creating tables" in capsys.readouterr().err


def test_an_error_of_a_library_is_a_line_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with output_form("json", verbose=False), library_output():
        logging.getLogger("mlflow.test").error("cannot reach %s", "it")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"]) == ("error", "mlflow.test")
    assert line["message"].endswith("cannot reach it")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [(FORMAT, "xml", "text or json"), (VERBOSE, "yes", "0 or 1"), (JVM_LEVEL, "quiet", " or ".join(JVM_LEVELS))],
)
def test_an_unknown_value_of_a_variable_is_refused(
    name: str, value: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} must be {rule}, got '{value}'"), library_output():
        pass
