"""The lock of a search: a second process is refused at once, and a process that dies holds nothing."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.lake.lake import Lake
from jobs.tuning import lock
from jobs.tuning.lock import FILE, SILENCE, SearchIsRunning, held_in_store, search_lock
from tests.no_session import no_session
from tests.processes import wait_until

ROOT = Path(__file__).resolve().parents[3]
DAY, TIME = dt.date(2026, 1, 31), dt.datetime(2026, 2, 1, 6, 30, tzinfo=dt.UTC)
HOLD = """
import datetime as dt, sys
from pathlib import Path
from jobs.tuning.lock import held_on_disk
with held_on_disk(Path(sys.argv[1]), "the search of 2026-01-30 by a test,"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_search_is_refused_until_the_first_process_dies(tmp_path: Path) -> None:
    lake = Lake(no_session, str(tmp_path))
    file = tmp_path / "tuning" / FILE
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SearchIsRunning, match="got a second one: the search of 2026-01-30 by a test, runs"):
            search_lock(lake, DAY, TIME).__enter__()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with search_lock(lake, DAY, TIME):
        assert f"the search of {DAY} by process {os.getpid()} on" in file.read_text("utf-8")
        assert "started at 2026-02-01 06:30 UTC" in file.read_text("utf-8")
        with pytest.raises(SearchIsRunning, match=f"process {os.getpid()} on"):
            search_lock(lake.of_variant("mns"), DAY, TIME).__enter__()  # a variant searches on the same machine
    with search_lock(lake, DAY, TIME):
        pass


def test_in_a_store_a_file_that_is_not_renewed_is_that_of_a_dead_process(spark: SparkSession, tmp_path: Path) -> None:
    file, lines = tmp_path / FILE, []
    with held_in_store(spark, str(file), "the first,"):
        with pytest.raises(SearchIsRunning, match="got a second one: the first, runs"):
            held_in_store(spark, str(file), "the second,").__enter__()
        os.utime(file, (file.stat().st_mtime - SILENCE - 1,) * 2)
        with held_in_store(spark, str(file), "the third,"):
            lines.append(file.read_text("utf-8"))
    assert lines == ["the third,"]
    assert not file.exists()


@pytest.fixture
def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """A folder is the store, which is renewed at once. These errors come first when a file is put."""
    errors: list[Exception] = []

    def put(_: Any, uri: str, text: str) -> None:
        if errors:
            raise errors.pop()
        Path(uri).write_text(text, "utf-8")

    def create(file: Path, _: bool) -> SimpleNamespace:
        return SimpleNamespace(writeBytes=file.write_text, close=lambda: None)

    store = SimpleNamespace(exists=Path.exists, create=create, delete=lambda file, _: file.unlink(missing_ok=True))
    monkeypatch.setattr(lock, "hadoop_path", lambda _, uri: (store, Path(uri)))
    monkeypatch.setattr(lock, "put_text", put)
    monkeypatch.setattr(lock, "RENEWAL", 0.01)
    return errors


def test_a_renewal_that_fails_is_tried_again(
    tmp_path: Path, failures: list[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / FILE
    failures += [OSError("slow down"), OSError("slow down")]
    with held_in_store(None, str(file), "the first,"):  # type: ignore[arg-type]
        assert wait_until(lambda: not failures)
        file.unlink()
        assert wait_until(file.exists)
    assert capsys.readouterr().out.count("could not be renewed, which is tried again: slow down") == 2
    assert not file.exists()


@pytest.mark.usefixtures("failures")
def test_a_lock_that_another_search_has_taken_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / FILE
    monkeypatch.setattr(lock, "RENEWAL", 3_600.0)
    with held_in_store(None, str(file), "the first,"):  # type: ignore[arg-type]
        file.write_text("the second,", "utf-8")
    assert file.read_text("utf-8") == "the second,"
