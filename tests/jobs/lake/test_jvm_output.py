"""What the JVM writes to stderr before Spark's log is configured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.lake.session.jvm_output import passed_on
from model.training.processes.lines import library_output, lines_of, output_form

ROOT = Path(__file__).resolve().parents[3]
# A child that is started inside writes before and after; this process writes after it.
START = """
import subprocess, sys
from jobs.lake.session.jvm_output import jvm_output
from model.training.processes.lines import library_output
CHILD = '''
import sys, time
for line in ("WARNING: Using incubator modules: jdk.incubator.vector", "java.lang.OutOfMemoryError: heap"):
    print(line, file=sys.stderr, flush=True)
sys.stdin.readline()
print("after", file=sys.stderr, flush=True)
'''
with library_output():
    with jvm_output():
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE)
    print("mine", file=sys.stderr, flush=True)
    child.communicate(b"x")
"""


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Using incubator modules: jdk.incubator.vector",
        "Picked up JAVA_TOOL_OPTIONS: -Xshare:auto",
        'Setting default log level to "WARN".',
        "To adjust logging level use sc.setLogLevel(newLevel). For SparkR, use setLogLevel(newLevel).",
        "26/11/29 12:00:00 WARN NativeCodeLoader: Unable to load native-hadoop library for your platform",
        "WARNING: An illegal reflective access operation has occurred",
        ":: loading settings :: url = jar:file:/x/ivy-2.5.3.jar!/org/apache/ivy/core/settings/ivysettings.xml",
        "io.delta#delta-spark_2.13 added as a dependency",
        "\tfound io.delta#delta-spark_2.13;4.0.1 in central",
        "\tconfs: [default]",
    ],
)
def test_what_says_nothing_about_the_job_is_left_out(line: str) -> None:
    with library_output():
        assert passed_on(line) is None
    with output_form("json", verbose=True), library_output():
        assert json.loads(str(passed_on(line)))["message"] == line


@pytest.mark.parametrize(
    "line",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "\tat org.apache.spark.SparkContext.<init>(SparkContext.scala:1)",
        "26/11/29 12:00:00 ERROR Executor: Exception in task 0.0",
        "WARNING: something new",
        "Error: Could not find or load main class",
        "",
    ],
)
def test_errors_stay(line: str) -> None:
    with library_output():
        assert passed_on(line) == line
    with output_form("json", verbose=False), library_output(), lines_of("run_day"):
        found = json.loads(str(passed_on(line)))
    assert (found["message"], found["job"], found["source"]) == (line, "run_day", "jvm")
    assert found["level"] == ("error" if "Error" in line or " ERROR " in line else "warning")


@pytest.mark.parametrize(("word", "level"), [("INFO", "info"), ("WARN", "warning"), ("ERROR", "error")])
def test_programs_read_the_level_of_what_spark_logs(word: str, level: str) -> None:
    with output_form("json", verbose=True):
        assert json.loads(str(passed_on(f"26/11/29 12:00:00 {word} SparkContext: x")))["level"] == level


@pytest.mark.parametrize("verbose", ["0", "1"])
def test_a_process_that_is_started_inside_is_filtered_until_its_end(
    verbose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_RECALL_VERBOSE", verbose)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([sys.executable, "-c", START], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = sorted(done.stderr.splitlines())
    chatter = ["WARNING: Using incubator modules: jdk.incubator.vector"] if verbose == "1" else []
    assert said == [*chatter, "after", "java.lang.OutOfMemoryError: heap", "mine"]
