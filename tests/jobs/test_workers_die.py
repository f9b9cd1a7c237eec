"""kill -9 of a Python worker or an executor during scoring: the task is retried and gives the same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after
from tests.processes import PATIENCE, isolated_process, living_processes, spark_home
from tests.standalone import build_zip, python_without_the_project

THIRD = DAYS[2]


def forked_workers(session: int) -> list[tuple[int, int]]:
    """Ids of the Python workers, and of the executors that they work for: each is the child of a daemon."""
    parents = {}
    for pid in living_processes(session):
        try:
            if "pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_text():
                parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return [(pid, parents[parent]) for pid, parent in parents.items() if parent in parents]


def kill_first(job: subprocess.Popen, victim: str) -> bool:
    """Kill the first Python worker, or its executor. Returns False if the job ends before there is one."""
    end = time.monotonic() + PATIENCE
    while job.poll() is None and time.monotonic() < end:
        for worker, executor in forked_workers(job.pid):
            os.kill(worker if victim == "worker" else executor, signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def kill_all_workers(job: subprocess.Popen) -> int:
    """Kill each Python worker until the job ends, since a worker that is killed between two tasks costs nothing."""
    killed = 0
    end = time.monotonic() + PATIENCE
    while job.poll() is None and time.monotonic() < end:
        for worker, _ in forked_workers(job.pid):
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(worker, signal.SIGKILL)
                killed += 1
        time.sleep(0.01)
    return killed


# The project is in the zip only: the driver's PYTHONPATH names it, and Spark sends it to the executors.
@pytest.mark.parametrize("victim", slow_after(1, ["worker", "executor"]))
def test_a_task_whose_process_is_killed_is_retried(simulated_copy: Lake, tmp_path: Path, victim: str) -> None:
    before = {row.user_id: row.candidates for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    version = simulated_copy.version(tables.CANDIDATES)
    zipped, python = build_zip(tmp_path / "batch-recall.zip"), python_without_the_project(tmp_path / "python")
    command = [str(python), "-m", "jobs.score_users", "--lake", simulated_copy.uri, "--ds", str(THIRD)]
    command += ["--config", SMALL, "--master", "local-cluster[2,1,1024]"]
    home = {"SPARK_HOME": str(spark_home(tmp_path / "spark")), "PYTHONPATH": str(zipped)}
    environment = {**{name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"}, **home}
    with isolated_process(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as job:
        killed = kill_first(job, victim)
        _, errors = job.communicate(timeout=PATIENCE)
    assert killed, errors
    assert job.returncode == 0, errors
    assert " WARN " not in errors  # log4j2.properties is read from the zip
    assert simulated_copy.version(tables.CANDIDATES) == version + 1
    after = {row.user_id: row.candidates for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    assert after == before


@pytest.mark.slow
def test_without_retries_the_job_fails_and_the_table_is_unchanged(simulated_copy: Lake, tmp_path: Path) -> None:
    version = simulated_copy.version(tables.CANDIDATES)
    command = [sys.executable, "-m", "jobs.score_users", "--lake", simulated_copy.uri, "--ds", str(THIRD)]
    command += ["--config", SMALL, "--master", "local[2]"]
    log = tmp_path / "errors.txt"
    with log.open("w") as stream, isolated_process(command, stderr=stream) as job:
        killed = kill_all_workers(job)
        job.wait(PATIENCE)
    errors = log.read_text()
    assert killed, errors
    assert job.returncode != 0, errors
    assert "Python worker exited unexpectedly" in errors
    assert simulated_copy.version(tables.CANDIDATES) == version
