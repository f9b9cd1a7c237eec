"""Errors caused by other writers, disks, stores and the JVM: as typed errors, or as one line for the user."""

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
from deltalake.exceptions import DeltaError
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
FULL = re.compile("No space left on device|Disk quota exceeded|File too large|quota of .* is exceeded")  # also HDFS
UNRESPONSIVE = re.compile(
    r"(?:[a-z]\w*\.)+(?:SocketTimeout|ConnectTimeout|ConnectionPoolTimeout|Connect|NoRouteToHost|UnknownHost)Exception"
    r": .*"
)
LOST = re.compile(r"ExecutorLostFailure \([^\n]*")
RETRY_HINT = "nothing was written: run the job again after the other one has ended"


class WriteConflict(ValueError):
    """Another writer changed the same rows first; this writer wrote nothing."""


class KeyConflict(WriteConflict):
    """The table has a row with the key of a row to be added, perhaps from another writer; nothing was added."""


class DiskFull(ValueError):
    """There is no space for the new rows or files; the previous contents are unchanged."""


class TargetUnavailable(ValueError):
    """The target of an export does not answer or has no memory left; its readers have what they had before."""


class JvmNotStarted(ValueError):
    """The JVM of Spark ended before it answered: no memory, JARs that could not be fetched, a wrong setting, a kill."""


@contextmanager
def commit_errors(path: str) -> Iterator[None]:
    """Raise WriteConflict if another writer commits to the table at `path` first, DiskFull if there is no space."""
    try:
        with disk_full_errors(path):
            yield
    except CONFLICTS as error:
        raise WriteConflict(f"another writer changed {path} in the meantime; {RETRY_HINT}") from error


@contextmanager
def disk_full_errors(uri: str) -> Iterator[None]:
    """Raise DiskFull, with the free space, if there is no space to write `uri`."""
    try:
        yield
    except (OSError, DeltaError, Py4JJavaError, CapturedException) as error:
        if jvm_is_gone(error) or not is_full(error):
            raise
        raise DiskFull(f"no space to write {uri}; {free_space(uri)}") from error


def user_message(error: Exception) -> str | None:
    """One line for an error that the environment caused; None for any other error, which is a bug."""
    if jvm_is_gone(error):
        return "the JVM of Spark has ended, perhaps killed for lack of memory; uncommitted rows are lost"
    if isinstance(error, CONFLICTS):
        return f"another writer changed the same table in the meantime; {RETRY_HINT}"
    if is_full(error):
        where = error.filename if isinstance(error, OSError) else None
        return f"no space to write{f' {where}' if where else ''}; {free_space(where)}"
    if unresponsive := UNRESPONSIVE.search(_text(error)):
        return f"a store does not respond: {unresponsive[0].strip()}"
    if lost := LOST.search(_text(error)):
        return f"Spark lost an executor: {lost[0].strip()}"
    return None


def is_full(error: BaseException) -> bool:
    """Whether the error says that a disk is full or a quota is exceeded."""
    return (isinstance(error, OSError) and error.errno in FULL_NUMBERS) or FULL.search(_text(error)) is not None


def jvm_is_gone(error: BaseException) -> bool:
    """Whether the error is a consequence of a JVM that has ended."""
    if any(isinstance(cause, Py4JNetworkError) for cause in _causes(error)):
        return True
    started: Any = getattr(SparkContext._gateway, "proc", None)  # None under spark-submit, where the JVM is the parent
    return isinstance(error, ConnectionError | Py4JError) and started is not None and started.poll() is not None


def free_space(uri: str | None = None) -> str:
    """The free space of every local folder to which a job writes: `uri`, Spark's spill folders, the temporary one."""
    spill = (os.environ.get("SPARK_LOCAL_DIRS") or _spark_setting("spark.local.dir") or "/tmp").split(",")
    free = {}
    for location in (*([uri] if uri else []), *spill, tempfile.gettempdir()):
        url = urlparse(location)
        if url.scheme in ("", "file"):
            folder = Path(unquote(url.path))
            existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            free[str(folder)] = f"{shutil.disk_usage(existing).free / 2**20:,.1f} MiB in {folder}"
    return "free space: " + ", ".join(free.values())


def _spark_setting(name: str) -> str | None:
    context = SparkContext._active_spark_context
    return context.getConf().get(name) if context is not None else None


def _text(error: BaseException) -> str:
    """The messages of the error and of its causes, with the stack traces of the JVM."""
    return "\n".join(f"{cause}\n{getattr(cause, '_stackTrace', '')}" for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
