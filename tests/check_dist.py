"""`make test-dist`: a job of dist/batch-recall.zip on a cluster whose workers use the Python of dist/environment.tar.gz.

This file is not part of `make test`, because packing and unpacking take too long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from jobs import run_day, simulate_log
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL
from tests.processes import isolated_process
from tests.standalone import LOOPBACK, ROOT, SPARK_HOME, standalone_cluster, write_settings

DAY = DAYS[0]


def lists(lake: Lake) -> dict[str, list]:
    return {row.user_id: row.candidates for row in lake.day(tables.CANDIDATES, DAY).collect()}


def test_users_are_scored_by_the_packed_environment(lake: Lake, tmp_path: Path) -> None:
    common = ["--lake", lake.uri, "--ds", str(DAY), "--config", SMALL]
    simulate_log.main([*common, "--users", "150", "--items", "200"])
    run_day.main([*common, "--tables-only"])
    for module in (*run_day.WINDOW_JOBS, *run_day.MODEL_JOBS):
        module.main(common)
    before, version = lists(lake), lake.version(tables.CANDIDATES)
    zipped, archive = (
        shutil.copy(ROOT / "dist" / name, tmp_path) for name in ("batch-recall.zip", "environment.tar.gz")
    )
    environment = {
        **{name: os.environ[name] for name in ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS") if name in os.environ},
        **LOOPBACK,
        "HOME": str(tmp_path),
        "PYSPARK_PYTHON": "./environment/bin/python",
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    command = [str(SPARK_HOME / "bin" / "spark-submit"), "--py-files", zipped, "--archives", f"{archive}#environment"]
    command += ["--properties-file", str(write_settings(tmp_path / "settings", Path(zipped)))]
    with standalone_cluster(tmp_path / "cluster") as cluster:
        command += ["--master", cluster.url, str(ROOT / "jobs" / "score_users.py"), *common]
        with isolated_process(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as job:
            _, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors
        executors = cluster.executors()
    assert len(executors) == 2
    for executor in executors:
        assert (executor / "environment" / "lib" / "python3.11" / "site-packages" / "faiss").is_dir()
    assert lake.version(tables.CANDIDATES) == version + 1
    assert lists(lake) == before
