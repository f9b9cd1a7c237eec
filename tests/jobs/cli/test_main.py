"""The command `batch-recall`: its list and its help load nothing that computes; jobs run as with `python -m`."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs
from jobs.cli import main as command
from jobs.cli.stand_ins import HEAVY

ROOT = Path(__file__).resolve().parents[3]
JOBS = {path.stem for path in Path(jobs.__path__[0]).glob("*.py")} - {"__init__"}
SPARKS = {"delta", "deltalake", "pandas", "py4j", "pyarrow", "pyspark", "torch"}
# One process asks for the help of every job, and then prints what it has loaded.
ALL_HELP = """
import json, sys
from jobs.cli.main import groups, overview
from jobs.cli.stand_ins import light_parser
sys.argv = ["batch-recall x"]
texts = {job: light_parser(f"jobs.{job}").format_help() for found in groups().values() for job in found}
print(json.dumps([texts, overview(100), sorted(sys.modules)]))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs Python with arguments in an empty folder."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60
        )

    return call


def batch_recall(run: Run, *words: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "batch_recall", *words)


def test_the_list_has_every_job_once_with_its_first_line_in_run_order() -> None:
    listed = [job for found in command.groups().values() for job in found]
    assert len(listed) == len(JOBS)
    assert set(listed) == JOBS
    assert listed[:3] == ["run_demo", "run_day", "ingest_logs"]
    from jobs.run_day import NAMES

    assert [job for job in listed if job in NAMES] == [*NAMES]
    text = command.overview(10_000)
    for job in listed:
        first_line = str(importlib.import_module(f"jobs.{job}").__doc__).splitlines()[0]
        assert f"  {job.replace('_', '-'):<25}{first_line}\n" in text


def test_the_list_and_the_help_of_every_job_load_nothing_that_computes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("-c", ALL_HELP)
    assert done.returncode == 0, done.stderr
    texts, overview, loaded = json.loads(done.stdout)
    assert not SPARKS.intersection(loaded)
    assert not HEAVY.intersection(loaded)
    assert not [name for name in loaded if name.removeprefix("jobs.") in JOBS]
    assert overview == command.overview(100)
    monkeypatch.setattr(sys, "argv", ["batch-recall x"])
    monkeypatch.setenv("COLUMNS", "100")
    for job in JOBS:  # stand-ins change nothing
        assert texts[job] == importlib.import_module(f"jobs.{job}").arg_parser().format_help(), job


def test_help_is_that_of_the_job_by_either_spelling(run: Run) -> None:
    done = batch_recall(run, "await_log", "--lake", "x", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: batch-recall await-log [-h] --lake LAKE --ds DS")
    assert done.stdout == batch_recall(run, "await-log", "--help").stdout


def test_the_real_packages_are_imported_after_a_help(run: Run) -> None:
    code = """
from jobs.cli.stand_ins import light_parser
light_parser("jobs.build_item_counts")
import pyspark.sql
from jobs.build_item_counts import DataFrame
assert DataFrame is pyspark.sql.DataFrame
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_no_job_loads_torch_before_it_computes(run: Run) -> None:
    imports = "\n".join(f"import jobs.{job}" for job in sorted(JOBS))
    done = run("-c", f"import sys\n{imports}\nassert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "out", "error"),
    [
        ([], 2, "usage: batch-recall JOB", ""),
        (["--help"], 0, "usage: batch-recall JOB", ""),
        (["--version"], 0, f"batch-recall {jobs.__version__}\n", ""),
        (["--code"], 0, f"{ROOT}\n", ""),
        (["run-dya", "--ds", "2026-01-31"], 2, "", "got 'run-dya'; did you mean run-day?\n"),
        (["nothing"], 2, "", "got 'nothing': `batch-recall --help` lists all\n"),
    ],
)
def test_what_the_command_prints_without_a_job(
    words: list[str],
    code: int,
    out: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["batch-recall", *words])
    ended = 0
    try:
        command.main()
    except SystemExit as stop:
        ended = stop.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert ended == code
    assert printed.out.startswith(out)
    assert bool(printed.out) == bool(out)
    assert printed.err.endswith(error)
    assert printed.err.count("\n") == bool(error)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--lake", "nowhere", "--ds", "2026-01-31"], 99),  # not landed
        (["--lake", "nowhere", "--ds", "2026-01-31", "--config", "nowhere.toml"], 2),
        (["--lake", "nowhere", "--ds", "yesterday"], 2),
    ],
)
def test_a_job_ends_with_the_exit_code_and_the_message_of_python_m(run: Run, words: list[str], code: int) -> None:
    alone, sub = run("-m", "jobs.await_log", *words), batch_recall(run, "await-log", *words)
    assert (alone.returncode, sub.returncode) == (code, code), sub.stderr
    assert (
        alone.stderr.replace("await_log.py", "batch-recall await-log").splitlines()[-1:]
        == (sub.stderr.splitlines()[-1:])
    )


def test_an_environment_whose_spark_is_overwritten_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "version", lambda name: {"pyspark-client": "4.2.0"}[name])
    monkeypatch.setattr(sys, "argv", ["batch-recall", "await-log", "--help"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "must not have pyspark-client, which overwrites pyspark, got 4.2.0" in capsys.readouterr().err
