"""A task that Airflow kills and retries: no process of the first attempt survives, and the day is committed once.

A task is a job, or a stage, which is a stretch of run_day: its retry skips the jobs that had ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.lake.lake import Lake
from tests.faults.steps import THIRD, Step, changed, of_day, rows, versions, written
from tests.marks import slow_after
from tests.processes import PATIENCE, all_ended, isolated_process, living_processes, wait_until
from tests.standalone import QUICK_START

QUICK_TO_START = (
    *("--driver-java-options", QUICK_START),
    *("--conf", "spark.sql.codegen.wholeStage=false"),
    *("--conf", "spark.sql.codegen.factoryMode=NO_CODEGEN"),
)
ROOT = Path(__file__).resolve().parents[2]
COUNTS = ("--from", "build_item_counts", "--to", "build_window_counts", "--skip-done")


def of_table(lake: str, table: str) -> set[str]:
    return {file for file in written(lake, "file") if file.startswith(f"{lake}/{table}/")}


@pytest.mark.parametrize(
    ("step", "outputs"),
    slow_after(
        1,
        [
            (of_day("run_day", THIRD, *COUNTS), ["daily_item_counts", "window_item_counts"]),
            (of_day("build_item_counts", THIRD), ["daily_item_counts"]),
        ],
    ),
    ids=["stage", "job"],
)
def test_a_killed_and_retried_task_commits_once(
    step: Step, outputs: list[str], simulated: Lake, simulated_copy: Lake
) -> None:
    """The last output is being written when the task is killed; a job that ran twice would commit twice.

    SIGTERM to the process group of the task, then SIGKILL to spark-submit: what the supervisor and the hook do."""
    lake, old = simulated_copy.uri, simulated.uri
    submit = [str(Path(sys.prefix) / "bin" / "spark-submit"), "--master", "local[2]", *QUICK_TO_START]
    command = [*submit, str(ROOT / "jobs" / f"{step.job}.py"), *step.argv(lake)]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("PYSPARK_GATEWAY_PORT", None)
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with isolated_process(command, **options) as first:
        files = of_table(lake, outputs[-1])
        assert wait_until(lambda: of_table(lake, outputs[-1]) != files or first.poll() is not None, interval=0.002)
        assert len(living_processes(first.pid)) >= 2  # the JVM and the driver that it started
        os.killpg(first.pid, signal.SIGTERM)
        time.sleep(0.1)
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(PATIENCE) != 0
        assert all_ended(first.pid)
    assert changed(lake, old) == outputs[:-1]
    with isolated_process(command, **options) as second:
        assert second.wait(PATIENCE) == 0
        assert all_ended(second.pid)
    assert changed(lake, old) == outputs
    for table in outputs:
        assert versions(lake, table) == versions(old, table) + 1
        assert rows(lake, table) == rows(old, table)
