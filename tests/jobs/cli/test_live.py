"""The line that moves on a terminal, and how Spark's work is read."""

from __future__ import annotations

import io
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from py4j.protocol import Py4JNetworkError
from pyspark import SparkContext
from pyspark.sql import SparkSession
from rich.console import Console

from jobs.cli import live
from jobs.cli.live import Work, expecting, moving_line, spark_work
from model.training.processes.lines import output_form

NOTHING = Work(0, 0, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_text_counts_tasks_and_the_rows_that_a_job_expects_to_write() -> None:
    assert NOTHING.text() == ""
    assert Work(1_200, 7, 0).text() == "7 of 1,200 tasks"
    assert Work(12, 3, 4_000).text() == "3 of 12 tasks, 4,000 rows written"
    assert Work(12, 3, 4_000).text((0, "users")) == "3 of 12 tasks, 4,000 users"
    assert Work(12, 3, 4_000).text((16_000, "users")) == "3 of 12 tasks, 4,000 of 16,000 users"


def test_a_session_that_ends_is_no_error() -> None:
    class Gone:
        def statusTracker(self) -> Any:  # noqa: N802  # Spark's name
            raise Py4JNetworkError("the JVM has ended")

    assert spark_work(cast(SparkContext, Gone())) == NOTHING
    assert spark_work(None) == NOTHING


def test_tasks_of_all_stages_that_run_are_counted() -> None:
    stages = {1: (10, 4, 100), 2: (5, 1, 20)}

    def info(number: int) -> Any:
        tasks, done, _ = stages[number]
        return SimpleNamespace(stageId=number, numTasks=tasks, numCompletedTasks=done)

    tracker = SimpleNamespace(getActiveStageIds=lambda: [*stages], getStageInfo=info)
    attempt = lambda number: SimpleNamespace(outputRecords=lambda: stages[number][2])  # noqa: E731
    scala = SimpleNamespace(statusStore=lambda: SimpleNamespace(lastStageAttempt=attempt))
    context = SimpleNamespace(statusTracker=lambda: tracker, _jsc=SimpleNamespace(sc=lambda: scala))
    assert spark_work(cast(SparkContext, context)) == Work(15, 5, 120)


def test_a_terminal_shows_spark_at_work_and_nothing_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, seen = Terminal(), threading.Event()

    def work(_: object) -> Work:
        if "3 of 12 tasks, 40 of 90 users" in shown.getvalue():
            seen.set()
        return Work(12, 3, 40)

    monkeypatch.setattr(live, "spark_work", work)
    monkeypatch.setattr(live, "SECONDS", 0.01)
    console = Console(file=shown, force_terminal=True, width=120)
    with moving_line(console, "3 of 24  score_users"), expecting(90, "users"):
        assert seen.wait(30)
    assert "3 of 24  score_users" in shown.getvalue()
    assert not [thread for thread in threading.enumerate() if thread.name == "moving-line"]


def test_the_rows_that_were_written_stay_when_their_stage_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, answers = Terminal(), iter([Work(12, 11, 80)])
    monkeypatch.setattr(live, "spark_work", lambda _: next(answers, Work(5, 1, 0)))
    monkeypatch.setattr(live, "SECONDS", 0.01)
    with moving_line(Console(file=shown, force_terminal=True, width=120), "score_users"), expecting(90, "users"):
        while "1 of 5 tasks" not in shown.getvalue():
            time.sleep(0.01)
    assert "1 of 5 tasks, 80 of 90 users" in shown.getvalue()


def test_a_line_that_is_longer_than_the_terminal_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    console = Console(file=shown, force_terminal=True, width=40)
    with moving_line(console, "report_run"):
        print(f"report: {'a long folder/' * 9}index.html")
    assert f"report: {'a long folder/' * 9}index.html" in shown.getvalue()
    assert not console.soft_wrap


def test_errors_stay_on_a_stderr_that_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Terminal()
    with moving_line(Console(file=shown, force_terminal=True), "build_histories"):
        print("error: x", file=sys.stderr)
    assert capsys.readouterr().err == "error: x\n"
    assert "error" not in shown.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_seconds_are_seen_on_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "spark_work", lambda _: Work(1_200, 700, 123_456))
    monkeypatch.setattr(live, "SECONDS", 0.01)
    shown = Terminal()
    console = Console(file=shown, force_terminal=True, width=width)
    with moving_line(console, "12 of 24  2026-01-05  build_training_examples"):
        while "700" not in shown.getvalue() and width > 60:
            time.sleep(0.01)
    assert "0:00:0" in shown.getvalue()


@pytest.mark.parametrize(
    ("form", "verbose", "file"),
    [("text", False, io.StringIO()), ("json", False, Terminal()), ("text", True, Terminal())],
)
def test_nothing_moves_in_a_file_for_programs_or_beside_the_lines_of_the_jvm(
    form: str, verbose: bool, file: io.StringIO
) -> None:
    shown = file
    console = Console(file=shown, force_terminal=True)  # as FORCE_COLOR has it
    with output_form(form, verbose=verbose), moving_line(console, "score_users"):
        assert not [thread for thread in threading.enumerate() if thread.name == "moving-line"]
    assert shown.getvalue() == ""


def test_the_tasks_of_a_real_job_are_seen_from_another_thread(spark: SparkSession) -> None:
    found: list[Work] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if (work := spark_work(SparkContext._active_spark_context)).tasks:
                found.append(work)
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        slow = spark.sparkContext.parallelize(range(6), 6).map(lambda number: time.sleep(0.5) or number)
        assert slow.count() == 6
    finally:
        ended.set()
        thread.join()
    assert {work.tasks for work in found} == {6}
    assert 0 < max(work.done for work in found) <= 6
