"""What a person, and a program, reads from jobs that run as they do in production: in processes of their own."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import run_day
from jobs.cli.advice import CLASSES
from jobs.cli.run import TRY_AGAIN, run
from model.training.processes.lines import CRASH, FORMAT, INTERRUPTED, USER_ERROR, VERBOSE

ROOT = Path(__file__).resolve().parents[3]
DAY = "2026-01-05"
LANDED = {
    "impressions.csv": "impression_id,request_id,user_id,item_id,position,impressed_at\n"
    + "".join(f"s{n},r{n // 3},u{n % 3},i{n},1,{DAY}T10:00:00\n" for n in range(9)),
    "clicks.csv": f"impression_id,clicked_at\ns1,{DAY}T10:00:05\ns4,{DAY}T10:00:05\nnobody,{DAY}T10:00:07\n",
}


def batch_recall(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("BATCH_RECALL")}
    environment = {**known, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "batch_recall", *words, "--ds", DAY]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=540)


def objects(text: str) -> list[dict[str, object]]:
    """Each line of an output as JSON; all have a time, a level, a job, a day and a message."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "job", "ds", "message"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
    return found


def land(folder: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    for name, text in LANDED.items():
        (folder / name).write_text(text, "utf-8")
    files = ["--impressions", "impressions.csv", "--clicks", "clicks.csv"]
    return batch_recall(folder, "ingest-logs", "--lake", "lake", *files, *more, **variables)


def test_every_line_of_real_jobs_is_json_if_asked_for(tmp_path: Path) -> None:
    landed = land(tmp_path, "--log-format", "json")
    assert (landed.returncode, landed.stderr) == (0, "")
    *_, last = objects(landed.stdout)
    assert (last["job"], last["ds"], last["rows"]) == ("ingest_logs", DAY, 12)
    run_day = ["run-day", "--lake", "lake", "--to", "build_reconciliation"]
    done = batch_recall(tmp_path, *run_day, **{FORMAT: "json"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = objects(done.stdout)
    rows = {line["job"]: line["rows"] for line in lines if "rows" in line}
    assert rows == {"build_interactions": 9, "build_reconciliation": 1}
    assert all(line["ds"] == DAY for line in lines)
    refused = batch_recall(tmp_path, "train-two-tower", "--lake", "lake", **{FORMAT: "json"})
    assert refused.returncode == 2
    assert [line["level"] for line in objects(refused.stderr)] == ["error"]


def test_a_person_reads_the_jobs_lines_and_nothing_of_the_jvm_but_everything_if_asked(tmp_path: Path) -> None:
    landed = land(tmp_path)
    assert (landed.returncode, landed.stderr) == (0, "")
    assert re.fullmatch(rf"ingest_logs {DAY}: 12 rows, \d+\.\d s", landed.stdout.splitlines()[-1])
    counted = batch_recall(tmp_path, "build-interactions", "--lake", "lake", "--verbose")
    assert counted.returncode == 0
    assert " INFO SparkContext: Running Spark version" in counted.stderr
    assert "Using incubator modules" in counted.stderr


def test_a_machine_without_java_is_said_to_lack_it(tmp_path: Path) -> None:
    words = ["ingest-logs", "--lake", "lake", "--impressions", "table:x"]
    done = batch_recall(tmp_path, *words, JAVA_HOME=str(tmp_path))
    assert done.returncode == 2
    message = f"error: Spark must be able to start Java 17, got none; JAVA_HOME is {tmp_path}"
    assert message in done.stderr.splitlines()
    assert "  documented in docs/deploy.md#2-code-on-the-cluster" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr


def test_a_jvm_that_ends_while_it_starts_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    words = ["ingest-logs", "--lake", "lake", "--impressions", "table:x", "--master", "nowhere"]
    done = batch_recall(tmp_path, *words)
    assert done.returncode == TRY_AGAIN
    own, _, error = done.stderr.partition("error: the JVM of Spark must start, got one that ended before it answered")
    assert "Master must" in own  # what Spark says
    assert "Java 17" not in error


def test_an_unknown_form_is_an_error_that_names_the_forms(tmp_path: Path) -> None:
    done = batch_recall(tmp_path, "build-histories", "--lake", "lake", "--log-format", "xml")
    assert done.returncode == 2
    assert "argument --log-format: invalid choice: 'xml' (choose from 'text', 'json')" in done.stderr
    done = batch_recall(tmp_path, "build-histories", "--lake", "lake", **{VERBOSE: "yes"})
    assert (done.returncode, done.stderr) == (2, f"error: {VERBOSE} must be 0 or 1, got 'yes'\n")


def test_an_unexpected_error_keeps_its_stack_trace_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(_: object) -> None:
        raise KeyError("x")

    monkeypatch.setenv(FORMAT, "json")
    monkeypatch.setattr(sys, "argv", ["build_histories", "--lake", "x", "--ds", DAY])
    with pytest.raises(SystemExit) as stop:
        run(bug)
    assert stop.value.code == CRASH
    (line,) = objects(capsys.readouterr().err)
    assert (line["level"], line["message"]) == ("error", "KeyError: 'x'")
    assert 'raise KeyError("x")' in str(line["traceback"])


def test_ctrl_c_is_a_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv(FORMAT, "json")
    monkeypatch.setattr(sys, "argv", ["build_histories"])
    with pytest.raises(SystemExit) as stop:
        run(interrupted)
    (line,) = objects(capsys.readouterr().err)
    assert (stop.value.code, line["message"], line["exit_code"]) == (INTERRUPTED, "KeyboardInterrupt", INTERRUPTED)


@pytest.mark.parametrize("words", [["--ds", "--last", "2026-01-07"], ["--ds"], ["--ds", DAY, "--verbose=yes"]])
def test_the_jobs_own_parser_refuses_wrong_arguments_in_the_form_of_lines(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FORMAT, "json")
    monkeypatch.setattr(sys, "argv", ["run_day", "--lake", "x", *words])
    with pytest.raises(SystemExit) as stop:
        run(run_day.main)
    (line,) = objects(capsys.readouterr().err)
    assert (stop.value.code, line["job"], line["exit_code"]) == (USER_ERROR, "run_day", USER_ERROR)
    assert f"argument {words[-1].partition('=')[0] if len(words) == 3 and DAY in words else '--ds'}: " in str(
        line["message"]
    )


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("verbose", ["0", "1"])
def test_verbose_shows_where_a_users_error_comes_from(
    form: str, verbose: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        int("x")

    monkeypatch.setenv(FORMAT, form)
    monkeypatch.setenv(VERBOSE, verbose)
    monkeypatch.setattr(sys, "argv", ["build_histories"])
    with pytest.raises(SystemExit) as stop:
        run(refuse)
    assert stop.value.code == USER_ERROR
    shown = capsys.readouterr().err
    assert ('int("x")' in (shown if form == "text" else str(objects(shown)[0].get("traceback")))) == (verbose == "1")
    if form == "text":
        assert shown.splitlines()[-1] == "error: invalid literal for int() with base 10: 'x'"


def test_a_full_disk_comes_with_the_advice_to_free_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

    monkeypatch.setattr(sys, "argv", ["build_histories"])
    with pytest.raises(SystemExit) as stop:
        run(full)
    assert stop.value.code == TRY_AGAIN
    assert f"  what to do: {CLASSES['DiskFull'].do}" in capsys.readouterr().err.splitlines()


def printing(text: str) -> bool:
    """Whether a source calls `print`, whose lines would not be JSON."""
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return any(isinstance(called, ast.Name) and called.id == "print" for called in calls)


def test_nothing_is_printed_past_the_form_of_lines() -> None:
    assert printing("def f():\n    print(1)")
    assert not printing("console.print(1)\nsay('print(1)')")
    found = {path.relative_to(ROOT).as_posix() for room in ("jobs", "model") for path in (ROOT / room).rglob("*.py") if printing(path.read_text("utf-8"))}  # fmt: skip
    assert found == {
        "jobs/cli/main.py",  # the list of jobs, and the version
        "jobs/tuning/trial.py",  # lines for the process that started it
        "model/training/processes/lines.py",
    }
