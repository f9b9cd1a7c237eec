"""What other writers, disks, stores and the JVM do to a job, each told in one line; what was there before stays."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from delta.exceptions import captured
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors.exceptions.captured import CapturedException

CONFLICTS = (
    captured.ConcurrentAppendException,
    captured.ConcurrentDeleteDeleteException,
    captured.ConcurrentDeleteReadException,
    captured.ConcurrentTransactionException,
    captured.ConcurrentWriteException,
    captured.DeltaConcurrentModificationException,
    captured.MetadataChangedException,
    captured.ProtocolChangedException,
)
FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL = re.compile("No space left on device|Disk quota exceeded|File too large|quota of .* is exceeded")  # HDFS's, too
SILENT = re.compile(
    r"(?:[a-z]\w*\.)+(?:SocketTimeout|ConnectTimeout|ConnectionPoolTimeout|Connect|NoRouteToHost|UnknownHost)Exception"
    r": .*"
)
AGAIN = "run it again when the other has ended"


class WriteConflict(ValueError):
    """Another writer changed what this one was to replace: nothing of this one was written."""


class Taken(WriteConflict):
    """Another writer has put a row where this one was to put one."""


class DiskFull(ValueError):
    """There is no room for what was to be written; what was there before stays."""


@contextmanager
def commit_of(path: str) -> Iterator[None]:
    """A commit to a table. Raises WriteConflict where another writer is quicker, DiskFull where there is no room."""
    try:
        with room_at(path):
            yield
    except CONFLICTS as error:
        raise WriteConflict(f"another writer changed {path} meanwhile; nothing was written: {AGAIN}") from error


@contextmanager
def room_at(uri: str) -> Iterator[None]:
    """Write to `uri` in this block: raises DiskFull that names it, and what is free, where that cannot be done."""
    try:
        yield
    except (OSError, Py4JJavaError, CapturedException) as error:
        if jvm_is_gone(error) or not is_full(error):
            raise
        raise DiskFull(f"no room to write {uri}; {free(uri)}") from error


def told(error: Exception) -> str | None:
    """One line for an error that is no fault of the job; None for any other."""
    if jvm_is_gone(error):
        return "the JVM of Spark has ended: killed, perhaps for want of memory; what was not committed is not there"
    if isinstance(error, CONFLICTS):
        return f"another writer changed the same table meanwhile; nothing was written: {AGAIN}"
    if is_full(error):
        where = error.filename if isinstance(error, OSError) else None
        return f"no room to write{f' {where}' if where else ''}; {free(where)}"
    if silent := SILENT.search(_text(error)):
        return f"a store does not answer: {silent[0].strip()}"
    return None


def is_full(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in FULL_NUMBERS) or FULL.search(_text(error)) is not None


def jvm_is_gone(error: BaseException) -> bool:
    """Whether the error comes of a JVM that does not answer any more."""
    if any(isinstance(cause, Py4JNetworkError) for cause in _causes(error)):
        return True
    started: Any = getattr(SparkContext._gateway, "proc", None)  # none under spark-submit, where it is the parent
    return isinstance(error, ConnectionError | Py4JError) and started is not None and started.poll() is not None


def free(uri: str | None = None) -> str:
    """What is free where a job writes: at `uri`, where Spark spills, and where Python's own files lie."""
    spill = (os.environ.get("SPARK_LOCAL_DIRS") or _spark_setting("spark.local.dir") or "/tmp").split(",")
    places = [*([uri] if uri else []), *spill, tempfile.gettempdir()]
    found = {}
    for place in places:
        folder = Path(unquote(urlparse(place).path)) if urlparse(place).scheme in ("", "file") else None
        if folder is not None:
            there = next(up for up in (folder, *folder.absolute().parents) if up.exists())
            found[str(folder)] = f"{shutil.disk_usage(there).free / 2**20:,.1f} MiB in {folder}"
    return "free are " + ", ".join(found.values())


def _spark_setting(name: str) -> str | None:
    context = SparkContext._active_spark_context
    return context.getConf().get(name) if context is not None else None


def _text(error: BaseException) -> str:
    """What it says, and what the errors say that it came of, those of the JVM too."""
    return "\n".join(f"{cause}\n{getattr(cause, '_stackTrace', '')}" for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
