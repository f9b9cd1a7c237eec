"""What a job that is run alone prints, and what it says of a folder that is no lake."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from py4j import protocol as proto
from py4j.java_gateway import GatewayClient
from py4j.protocol import Py4JNetworkError

from jobs.cli.advice import CLASSES
from jobs.cli.advice import lines as advice_lines
from jobs.cli.display import COUNTED
from jobs.cli.run import TRY_AGAIN, run, summary
from tests.jobs.cli.test_arguments import JOBS
from tests.no_session import no_session

DAY = "2026-01-05"


@pytest.mark.parametrize(
    ("job", "more", "line"),
    [
        (
            "evaluate_candidates",
            ["--ds", DAY, "--if-any"],
            f"evaluate_candidates {DAY}: 1,234 rows in evaluation, 3.2 s",
        ),
        (
            "build_snapshots",
            [f"--ds={DAY}"],
            f"build_snapshots {DAY}: 1,234 rows in item_snapshot and user_snapshot, 3.2 s",
        ),
        ("ingest_logs", ["--ds", DAY], f"ingest_logs {DAY}: 1,234 rows, 3.2 s"),
        ("ingest_logs", ["--ds", DAY, "--last", DAY], f"ingest_logs {DAY}: 1,234 rows, 3.2 s"),
        ("ingest_logs", ["--ds", DAY, "--last=2026-01-07"], f"ingest_logs {DAY} to 2026-01-07: 1,234 rows, 3.2 s"),
        ("publish_candidates", ["--rollback"], "publish_candidates: 1,234 users with a list, 3.2 s"),
    ],
)
def test_a_job_that_is_run_alone_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch, job: str, more: list[str], line: str
) -> None:
    monkeypatch.setattr(sys, "argv", [job, "--lake", "x", *more])
    assert summary(importlib.import_module(f"jobs.{job}").main, 1_234, 3.21) == line


def test_the_line_is_printed_once_after_the_job_and_not_for_a_job_that_shows_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for job, result, lines in (("build_item_counts", 7, 1), ("run_day", None, 0)):
        monkeypatch.setattr(sys, "argv", [job, "--lake", "x", "--ds", DAY])

        def ran(_: object, result: object = result) -> object:
            return result

        ran.__module__ = importlib.import_module(f"jobs.{job}").__name__
        run(ran)
        assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_connection_to_the_jvm_that_is_reset_is_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """py4j logs a lost answer with a traceback by the root logger, and only if the connection is reset, not closed."""
    lost = Py4JNetworkError("reset", when=proto.ERROR_ON_RECEIVE)
    connection = Mock(send_command=Mock(side_effect=lost))
    monkeypatch.setattr(GatewayClient, "_get_connection", lambda _: connection)
    monkeypatch.setattr(sys, "argv", ["build_item_counts", "--lake", "x", "--ds", DAY])

    def ran(_: object) -> None:
        assert GatewayClient().send_command("a command") == proto.ERROR
        logging.getLogger().error("a message of ours")
        raise lost

    ran.__module__ = "jobs.build_item_counts"
    with pytest.raises(SystemExit) as ended:
        run(ran)
    assert ended.value.code == TRY_AGAIN
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "ERROR root: a message of ours"
    assert second.startswith("error: the JVM of Spark has ended")
    assert caplog.messages == ["a message of ours"]


def test_what_is_counted_is_known_for_jobs_that_exist() -> None:
    assert set(COUNTED) <= set(JOBS)


OF_A_DAY = ["run_day", "train_two_tower", "build_vocabularies", "rebuild_days", "tune_two_tower"]


@pytest.mark.parametrize("job", ["publish_candidates", "report_run", "forget_users", "maintain_tables", *OF_A_DAY])
def test_a_folder_that_is_no_lake_is_said_to_be_none(
    tmp_path: Path, job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {
        "publish_candidates": ["--rollback"], "report_run": ["--ds", DAY], "forget_users": ["--users", __file__],
        "maintain_tables": [], **{name: ["--ds", DAY] for name in OF_A_DAY},
    }  # fmt: skip
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    monkeypatch.setattr(sys, "argv", [job, "--lake", str(tmp_path), *more[job]])
    with pytest.raises(SystemExit) as stop:
        run(importlib.import_module(f"jobs.{job}").main)
    assert stop.value.code == 2
    message, *advice = capsys.readouterr().err.splitlines()
    assert message == f"error: there is no lake at {tmp_path}: the folder does not exist or has no table"
    assert advice == advice_lines(CLASSES["NoSuchLake"])
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_in_no_file_gets_the_errors_too(tmp_path: Path) -> None:
    code = "from jobs.cli.run import run\ndef main(_): raise ValueError('wanted a, got b')\nrun(main)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (2, "error: wanted a, got b\n")
