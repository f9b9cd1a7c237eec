"""`batch-recall driver` and `batch-recall executor`, as Spark on Kubernetes calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from jobs.cli.kubernetes import BACKEND, EXECUTOR, command

SPARK = Path(pyspark.__file__).parent
DRIVER_POD = {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.1"}
EXECUTOR_POD = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@driver:7078", "SPARK_EXECUTOR_ID": "3", "SPARK_EXECUTOR_CORES": "8",
    "SPARK_APPLICATION_ID": "spark-1", "SPARK_EXECUTOR_POD_IP": "10.0.0.2", "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "recall-exec-3", "SPARK_EXECUTOR_MEMORY": "16g",
}  # fmt: skip


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_a_driver_submits_its_application_to_itself() -> None:
    words = [
        "--properties-file",
        "/opt/spark/conf/spark.properties",
        "local:///code/jobs/run_day.py",
        "--lake",
        "/lake",
    ]
    started = command("driver", words, DRIVER_POD, Path("/spark"))
    assert started[0] == "/spark/bin/spark-submit"
    assert started[-len(words) :] == words
    assert after(started, "--deploy-mode") == "client"
    assert "spark.driver.bindAddress=10.0.0.1" in started


def test_an_executor_has_the_options_memory_and_class_path_of_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {f"SPARK_JAVA_OPT_{number}": f"-Dnumber={number}" for number in (10, 2, 0)}
    more = {"SPARK_CONF_DIR": "/opt/spark/conf", "SPARK_EXTRA_CLASSPATH": "/more.jar", "JAVA_HOME": "/java"}
    monkeypatch.chdir("/")
    started = command("executor", [], EXECUTOR_POD | options | more, Path("/spark"))
    assert started[:6] == ["/java/bin/java", "-Dnumber=0", "-Dnumber=2", "-Dnumber=10", "-Xms16g", "-Xmx16g"]
    assert after(started, "-cp") == "/opt/spark/conf:/spark/jars/*:/more.jar:/"
    assert after(started, BACKEND) == "--driver-url"
    assert {option: after(started, option) for option in EXECUTOR} == {
        option: EXECUTOR_POD[name] for option, name in EXECUTOR.items()
    }


def test_sparks_executor_knows_the_options() -> None:
    """It prints its usage for an unknown one."""
    variables = EXECUTOR_POD | {"SPARK_EXECUTOR_MEMORY": "64m"}
    if "JAVA_HOME" in os.environ:
        variables["JAVA_HOME"] = os.environ["JAVA_HOME"]
    started = command("executor", ["--unknown"], variables, SPARK)
    usage = subprocess.run(started, capture_output=True, text=True, timeout=60).stderr
    assert "Unrecognized options: --unknown" in usage
    assert "KubernetesExecutorBackend" in usage
    for option in EXECUTOR:
        assert f"   {option} <" in usage


@pytest.mark.parametrize(
    ("role", "missing"), [("driver", "SPARK_DRIVER_BIND_ADDRESS"), ("executor", "SPARK_DRIVER_URL")]
)
def test_a_role_outside_of_a_pod_is_one_line(role: str, missing: str, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != missing}
    variables["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    words = [sys.executable, "-m", "batch_recall", role]
    done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    says = "must be started by Spark on Kubernetes; these variables are missing:"
    assert done.stderr.startswith(f"error: {role}: {says} {missing}")
    assert done.stderr.count("\n") == 1
