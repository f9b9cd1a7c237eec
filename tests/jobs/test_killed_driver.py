"""kill -9 of the JVM of spark-submit, as a scheduler does to a job that takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes import all_ended, first_line, isolated_process, living_processes

ROOT = Path(__file__).resolve().parents[2]
JOB = "import time\nfrom jobs.cli.run import run\nrun(lambda _: (print('ready', flush=True), time.sleep(600)))\n"


def test_the_python_driver_ends_with_its_jvm(tmp_path: Path) -> None:
    job = tmp_path / "slow_job.py"
    job.write_text(JOB, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    environment.pop("PYSPARK_GATEWAY_PORT", None)
    command = [str(Path(sys.prefix) / "bin" / "spark-submit"), "--master", "local[1]", str(job)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": environment}
    with isolated_process(command, **options) as submitted:
        assert first_line(submitted) == "ready\n"
        assert len(living_processes(submitted.pid)) == 2  # the JVM replaces the script
        os.kill(submitted.pid, signal.SIGKILL)
        assert all_ended(submitted.pid)
