"""Child processes of tests: none is left behind, and no test waits forever for one that has ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark

PATIENCE = 240  # seconds to wait for something that takes a few seconds on a quiet machine


def living_processes(session: int) -> list[int]:
    """The ids of the living processes of a session. A child stays in its session, whatever process group it makes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(own) == session and state != "Z":
            found.append(int(folder.name))
    return found


@contextmanager
def isolated_process(command: list[str], **options: object) -> Iterator[subprocess.Popen]:
    """Start a process in a session of its own; kill it and all its descendants when the block ends."""
    process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        while left := living_processes(process.pid):
            for pid in left:
                with suppress(ProcessLookupError):  # it has ended since it was listed
                    os.kill(pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.1)
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, interval: float = 0.05) -> bool:
    """Wait until the condition is true, at most so many seconds. Returns whether it is."""
    deadline = time.monotonic() + seconds
    while not (reached := bool(condition())) and time.monotonic() < deadline:
        time.sleep(interval)
    return reached


def all_ended(session: int, seconds: float = PATIENCE) -> bool:
    """Wait until no process of the session lives. Returns whether this is so."""
    return wait_until(lambda: not living_processes(session), seconds)


def first_line(process: subprocess.Popen, seconds: float = PATIENCE) -> str:
    """The first line that a process prints; empty if it ends without one. Raises TimeoutError if it stays silent."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    if not readable:
        raise TimeoutError(f"process {process.args} must print a line within {seconds} s, got nothing")
    return process.stdout.readline()


def spark_home(folder: Path) -> Path:
    """The installed Spark under another path: the workers of a local cluster write into $SPARK_HOME/work."""
    folder.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (folder / entry.name).symlink_to(entry)
    return folder
