"""One search at a time in a lake: a lock that ends with the process that holds it.

On a local disk it is a lock of the operating system on a file, which the death of the process releases. In a store it
is a file that the search renews; a file that was not renewed for SILENCE seconds is that of a process that has died.
Two searches that start in a store within the same moment may both get it, if the store has no atomic creation.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.lake.files import hadoop_path, put_text, read_text
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from model.training.processes.lines import say

FILE = "search.lock"  # in the folder tuning/ of the lake, for the main model and all variants
RENEWAL, SILENCE = 60.0, 300.0  # seconds


class SearchIsRunning(ValueError):
    """Another search works in the lake; this one has written nothing."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"one search at a time may run in a lake, got a second one: {holder or 'another'} runs")


def search_lock(lake: Lake, ds: dt.date, started_at: dt.datetime) -> AbstractContextManager[None]:
    """Holds the lock of the lake's searches. ds, started_at: of this search, for the message of a second one.

    Entering it raises SearchIsRunning, at once, if another process holds the lock.
    """
    process = f"process {os.getpid()} on {socket.gethostname()}"
    holder = f"the search of {ds} by {process}, started at {started_at:%Y-%m-%d %H:%M} UTC,"
    uri = lake.path("tuning", FILE)
    file = local_path(uri)
    return held_in_store(lake.spark, uri, holder) if file is None else held_on_disk(file, holder)


@contextmanager
def held_on_disk(file: Path, holder: str) -> Iterator[None]:
    """The lock as a lock on a local file. holder: who holds it, which the file says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as lock:  # processes that are started do not inherit it
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SearchIsRunning(lock.read()) from error
        lock.truncate(0)
        lock.write(holder)
        lock.flush()
        yield


@contextmanager
def held_in_store(spark: SparkSession, uri: str, holder: str) -> Iterator[None]:
    """The lock as a file in a store that Spark can write. holder: as in `held_on_disk`."""
    filesystem, path = hadoop_path(spark, uri)
    if filesystem.exists(path):
        age = time.time() - filesystem.getFileStatus(path).getModificationTime() / 1_000
        if age < SILENCE:
            raise SearchIsRunning(read_text(lambda: spark, uri) or "")
        filesystem.delete(path, False)
    try:
        stream = filesystem.create(path, False)
    except Py4JJavaError as error:
        if not filesystem.exists(path):
            raise
        raise SearchIsRunning(read_text(lambda: spark, uri) or "") from error
    stream.writeBytes(holder)
    stream.close()
    ended = threading.Event()

    def is_anothers() -> bool:
        """Whether another search has taken the lock, because this one was silent for too long."""
        return read_text(lambda: spark, uri) not in (None, holder)

    def renew() -> None:
        while not ended.wait(RENEWAL):
            try:
                if not is_anothers():
                    put_text(spark, uri, holder)
            except Exception as error:  # of the store, in any form: a search of hours must not lose its lock for it
                say(f"the lock {uri} could not be renewed, which is tried again: {error}")

    renewal = threading.Thread(target=renew, daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        if not is_anothers():
            filesystem.delete(path, False)
