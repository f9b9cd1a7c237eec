"""Passes on what the JVM of an embedded session writes to stderr, without the lines that say nothing about the job.

Spark's log has a configuration of its own (log4j2.properties). What remains are lines that the JVM, its launcher and
Ivy write before any configuration is read.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkContext

from model.training.processes.lines import hides_library_output, is_json, json_line

CHATTER = re.compile(
    r"WARNING: (Using incubator modules|An illegal reflective|Illegal reflective|Please consider reporting"
    r"|Use --illegal-access|All illegal access|A terminally deprecated|sun\.misc|java\.lang\.System::setSecurity"
    r"|Use --enable-native-access|A restricted method|Restricted methods|java\.lang\.System::load)"
    r"|Picked up \w*JAVA\w*OPTIONS|Setting default log level|To adjust logging level|Using Spark's default log4j"
    r"|.*Unable to load native-hadoop library|Ivy Default Cache|The jars for the packages|:: |\S+ added as a dependency"
    r"|\t(confs:|found |downloading |:: |\||-{5}|\[SUCCESSFUL|\d+ artifacts)|(downloading )?https?://\S+/maven\S* "
)
LEVELS = {"ERROR": "error", "FATAL": "error", "WARN": "warning", "INFO": "info", "DEBUG": "info", "TRACE": "info"}
LOGGED = re.compile(rf"\S+ \S+ ({'|'.join(LEVELS)}) ")  # as log4j2.properties says: date, time and level
FAULT = re.compile(r"(Error|Exception)\b")
DRAIN_SECONDS = 0.5  # at the end of the process, for the last lines of the JVM


def passed_on(line: str) -> str | None:
    """The line as it is shown: in the form of the other lines of the job, or None if it says nothing about the job."""
    if hides_library_output() and CHATTER.match(line):
        return None
    if not is_json():
        return line
    logged = LOGGED.match(line)
    level = LEVELS[logged[1]] if logged else "error" if FAULT.search(line) else "warning"
    return json_line(line, level, {"source": "jvm"})


@contextmanager
def jvm_output() -> Iterator[None]:
    """A JVM that is started inside has its stderr passed on line by line until it ends, unless it may stay as it is."""
    if (
        not (hides_library_output() or is_json())
        or SparkContext._gateway is not None
        or "PYSPARK_GATEWAY_PORT" in os.environ
    ):
        yield
        return
    stderr, (source, sink) = os.dup(2), os.pipe()
    os.dup2(sink, 2)
    os.close(sink)
    threading.Thread(target=_pass_on, args=(source, stderr), name="jvm-output", daemon=True).start()
    atexit.register(_drain, source)
    try:
        yield
    finally:
        os.dup2(stderr, 2)  # of this process; the JVM keeps the pipe


def _pass_on(source: int, target: int) -> None:
    """Copy lines from one file descriptor to another until the JVM, and every process that it started, has ended."""
    with os.fdopen(source, "rb", closefd=False) as lines:
        for line in lines:
            if (shown := passed_on(line.decode("utf-8", "replace").rstrip("\n"))) is not None:
                os.write(target, f"{shown}\n".encode())


def _drain(source: int) -> None:
    """Wait until the lines that were written have been read."""
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end and select.select([source], [], [], 0)[0]:
        time.sleep(0.01)
