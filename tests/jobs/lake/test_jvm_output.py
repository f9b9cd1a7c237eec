"""What the JVM writes to stderr before Spark's log is configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.lake.session import jvm_output
from jobs.lake.session.jvm_output import Passage, level_of, passed_on
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
        found = json.loads(str(passed_on(line, level_of(line))))
    assert (found["message"], found["job"], found["source"]) == (line, "run_day", "jvm")
    assert found["level"] == ("error" if "Error" in line or " ERROR " in line else "warning")


@pytest.mark.parametrize(("word", "level"), [("INFO", "info"), ("WARN", "warning"), ("ERROR", "error")])
def test_programs_read_the_level_of_what_spark_logs(word: str, level: str) -> None:
    line = f"26/11/29 12:00:00 {word} SparkContext: x"
    with output_form("json", verbose=True):
        assert json.loads(str(passed_on(line, level_of(line))))["level"] == level


def test_a_line_that_continues_another_one_has_its_level() -> None:
    lines = {
        "26/11/29 12:00:00 INFO SparkContext: configuration": "info", "spark.app.name=x": "info",
        "26/11/29 12:00:00 ERROR Executor: failed": "error", "\tat org.apache.spark.SparkContext.x(x.scala:1)": "error",
        "WARNING: something new": "warning", "java.lang.OutOfMemoryError: heap": "error",
        "\t... 7 more of IOException": "error", "26/11/29 12:00:00 WARN Utils: x": "warning", "\tat org.x": "warning",
    }  # fmt: skip
    level, found = "warning", {}
    for line in lines:
        found[line] = level = level_of(line, level)
    assert found == lines


def passage_to(target: int) -> tuple[Passage, int]:
    """A passage to a file descriptor, and the one to write to."""
    source, sink = os.pipe()
    passage = Passage(source, target)
    passage.start()
    return passage, sink


def test_a_stderr_that_nobody_reads_or_that_is_full_never_stops_the_jvm() -> None:
    closed, broken = os.pipe()
    os.close(closed)
    slow, full = os.pipe()
    os.set_blocking(full, False)
    child = "import sys; sys.stderr.write(('x' * 999 + chr(10)) * 1000)"  # 1 MB, more than pipes hold
    for target in (broken, full):
        passage, sink = passage_to(target)
        jvm = subprocess.Popen([sys.executable, "-c", child], stderr=sink)
        os.close(sink)
        if target == full:
            os.read(slow, 100_000)
            os.close(slow)
        assert jvm.wait(60) == 0
        passage.join(60)
        assert not passage.is_alive()


def test_every_line_that_was_written_is_passed_on_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def slowly(line: str, level: str) -> None:
        time.sleep(0.001)
        seen.append(line)

    monkeypatch.setattr(jvm_output, "passed_on", slowly)
    passage, sink = passage_to(os.open(os.devnull, os.O_WRONLY))
    os.write(sink, "".join(f"{number}\n" for number in range(100)).encode())
    passage.drain()
    assert seen == [str(number) for number in range(100)]
    os.write(sink, b"without an end")
    os.close(sink)
    passage.join(60)
    assert seen[-1] == "without an end"
    start = time.monotonic()
    passage.drain()  # of a JVM that has ended
    assert time.monotonic() - start < jvm_output.DRAIN_SECONDS / 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passage.source)


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
