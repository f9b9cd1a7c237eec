"""A dependency disappears while a job runs: its JVM, a file system, MLflow. The wait is bounded and the error is one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from jobs.cli.run import TRY_AGAIN
from jobs.lake.lake import Lake
from jobs.training.tracking import VARIABLES, record_training
from tests.faults.steps import THIRD, changed, is_jvm, of_day
from tests.jobs.training.test_tracking import config_with, manifest
from tests.processes import PATIENCE, first_line, isolated_process, living_processes

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@pytest.fixture
def unresponsive_port() -> Iterator[int]:
    """The port of a server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


def test_a_killed_jvm_is_reported_in_one_line(simulated: Lake, simulated_copy: Lake) -> None:
    lake = simulated_copy.uri
    with isolated_process(of_day("build_interactions", THIRD).command(lake), **PIPES) as job:
        assert first_line(job) == "ready\n"
        (jvm,) = (pid for pid in living_processes(job.pid) if is_jvm(pid))
        time.sleep(0.5)  # while the job reads, before it commits
        os.kill(jvm, signal.SIGKILL)
        began = time.monotonic()
        _, errors = job.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    assert job.returncode == TRY_AGAIN, errors
    assert "error: the JVM of Spark has ended, perhaps killed for lack of memory" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) < 5, errors
    assert not changed(lake, simulated.uri)


def test_an_unresponsive_store_ends_the_job(unresponsive_port: int) -> None:
    """The store is an HDFS name node, with a short timeout; docs/operations.md states the default."""
    step = of_day("build_interactions", THIRD)
    settings = {"ipc.client.rpc-timeout.ms": 2_000, "ipc.ping.interval": 2_000}
    listed = " ".join(f"--conf spark.hadoop.{key}={value}" for key, value in settings.items())
    environment = {**os.environ, "PYSPARK_SUBMIT_ARGS": f"{listed} pyspark-shell"}
    with isolated_process(step.command(f"hdfs://127.0.0.1:{unresponsive_port}/lake"), env=environment, **PIPES) as job:
        assert first_line(job) == "ready\n"
        began = time.monotonic()
        _, errors = job.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    assert job.returncode == TRY_AGAIN, errors
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert line.startswith("error: a store does not respond: java.net.SocketTimeoutException: ")
    assert f":{unresponsive_port}" in line
    assert "Traceback" not in errors


def test_an_unresponsive_mlflow_is_a_warning_in_bounded_time(
    lake: Lake, unresponsive_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    began = time.monotonic()
    record_training(lake, config_with(f"http://127.0.0.1:{unresponsive_port}"), manifest("first"))
    assert 1.5 < time.monotonic() - began < PATIENCE / 4  # two attempts
    assert f"warning: MLflow at http://127.0.0.1:{unresponsive_port} was not updated" in capsys.readouterr().out
    tries, wait = int(VARIABLES["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) + 1, int(VARIABLES["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    assert tries * wait <= 30  # by default
