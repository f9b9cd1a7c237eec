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
from contextlib import contextmanager, suppress

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
CHUNK = 65_536  # bytes that are read at once: what a pipe holds
DRAIN_SECONDS = 0.5  # at the end of the process, for the last lines of the JVM
FULL_SECONDS = 1.0  # that a line waits for a reader of stderr that is behind, if stderr does not block


def level_of(line: str, before: str = "warning") -> str:
    """info | warning | error; before: the level of the line before, which a line that continues it has, too."""
    if logged := LOGGED.match(line):
        return LEVELS[logged[1]]
    if line.startswith("WARNING: "):  # of the JVM itself
        return "warning"
    return "error" if FAULT.search(line) and not line[:1].isspace() else before


def passed_on(line: str, level: str = "warning") -> str | None:
    """The line as it is shown: in the form of the other lines of the job, or None if it says nothing about the job."""
    if hides_library_output() and CHATTER.match(line):
        return None
    return json_line(line, level, {"source": "jvm"}) if is_json() else line


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
    (source, sink), stderr = os.pipe(), os.dup(2)
    os.dup2(sink, 2)
    os.close(sink)
    passage = Passage(source, stderr)
    passage.start()
    atexit.register(passage.drain)
    try:
        yield
    finally:
        os.dup2(stderr, 2)  # of this process; the JVM keeps the pipe


class Passage(threading.Thread):
    """Copies lines from one file descriptor to another, and closes both when every process that writes has ended.

    It reads on whatever happens to a line: a JVM whose pipe is full would wait for ever. A line is lost if the target
    is closed, full, or does not take it.
    """

    def __init__(self, source: int, target: int) -> None:
        super().__init__(name="jvm-output", daemon=True)
        self.source, self.target = source, target
        self.waits = threading.Event()  # every line that was read has been passed on
        self.level = "warning"

    def run(self) -> None:
        rest = b""
        while chunk := self._read():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._pass_on(line)
        if rest:
            self._pass_on(rest)
        os.close(self.source)
        os.close(self.target)

    def drain(self) -> None:
        """Wait until the lines that were written have been passed on, or for DRAIN_SECONDS."""
        end = time.monotonic() + DRAIN_SECONDS
        with suppress(OSError):  # closed in the meantime
            # in this order: a line leaves the pipe after `waits` is cleared
            while self.is_alive() and time.monotonic() < end and (_readable(self.source) or not self.waits.is_set()):
                time.sleep(0.01)

    def _read(self) -> bytes:
        """The next bytes, none at the end."""
        self.waits.set()
        select.select([self.source], [], [])
        self.waits.clear()
        return os.read(self.source, CHUNK)

    def _pass_on(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self.level = level_of(text, self.level)
        with suppress(OSError):
            if (shown := passed_on(text, self.level)) is not None:
                _write(self.target, f"{shown}\n".encode())


def _readable(source: int) -> bool:
    return bool(select.select([source], [], [], 0)[0])


def _write(target: int, data: bytes) -> None:
    """Write everything. Raises OSError if the target is closed or full."""
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            if not select.select([], [target], [], FULL_SECONDS)[1]:
                raise
