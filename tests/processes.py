"""Jobs that run as processes of their own, and leave none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark


def processes(session: int) -> list[int]:
    """The living processes of a session: a child stays in it, whatever group it makes."""
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
def session_of_its_own(command: list[str], **options: object) -> Iterator[subprocess.Popen]:
    """A process that leaves no descendant behind, however the block ends."""
    process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        while left := processes(process.pid):
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.1)
        process.wait()


def spark_home(folder: Path) -> Path:
    """The installed Spark under another name: the workers of a local cluster write into $SPARK_HOME/work."""
    folder.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (folder / entry.name).symlink_to(entry)
    return folder
