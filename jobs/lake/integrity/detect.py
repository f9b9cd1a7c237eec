"""What a damaged table looks like to a job: one line that names the table, the fault and the command that mends it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.captured import CapturedException

from jobs.lake.integrity.delta_log import DeltaLog, Unreadable, read_log

if TYPE_CHECKING:
    from jobs.lake.partitions import Lake
    from jobs.lake.tables import Table

# What Delta says of a log that it cannot put together.
BROKEN_LOG = re.compile(
    "DELTA_MISSING_PART_FILES|DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_LOG_FILE_NOT_FOUND"
    "|DELTA_STATE_RECOVER_ERROR|Could not find any delta files"
)
BROKEN_FILE = re.compile(r"FAILED_READ_FILE|ChecksumException|FileReadException")
FILE = re.compile(r"(?:reading file|Checksum error:) (\S+?)(?:\.\s|\s|$)")


class TableDamaged(ValueError):
    """A table's log is damaged: `repair_table` brings back its last whole version."""


class VersionLost(TableDamaged):
    """An old version of a table is not to be had any more; the newest one is whole."""


class DataFileDamaged(ValueError):
    """A data file of a table is missing or not readable."""


@contextmanager
def opened(lake: Lake, table: Table, version: int | None = None) -> Iterator[DeltaLog | None]:
    """Open a table in this block, with its log: None where there is none.

    Raises TableDamaged where the log, up to `version` or the newest, is not whole; VersionLost where newer ones are.
    """
    path = lake.table_path(table)
    log = read_log(lake.spark, path)
    if fault_of(log, version) is not None:
        log = read_log(lake.spark, path)  # a writer may have been at work
    if fault := fault_of(log, version):
        if version is not None and fault_of(log) is None:
            raise VersionLost(
                f"version {version} of table {table.name} in {path} is lost: {fault}; newer ones are whole"
            )
        raise TableDamaged(_message(lake, table, fault))
    with used(lake, table):
        yield log


@contextmanager
def used(lake: Lake, table: Table) -> Iterator[None]:
    """Use a table that was looked at a moment ago: turns what Delta throws at a damaged log into TableDamaged."""
    try:
        yield
    except (Py4JJavaError, CapturedException) as error:
        text = str(error)
        in_log = BROKEN_FILE.search(text) and f"/{table.name}/_delta_log/" in text
        if not in_log and not BROKEN_LOG.search(text):
            raise
        raise TableDamaged(_message(lake, table, _first_line(text))) from error


@contextmanager
def readable_data() -> Iterator[None]:
    """Turn what Spark throws at a data file that is missing or not readable into DataFileDamaged."""
    try:
        yield
    except (Py4JJavaError, CapturedException) as error:
        text = str(error)
        if not BROKEN_FILE.search(text):
            raise
        file = FILE.search(text)
        raise DataFileDamaged(f"a data file is missing or damaged: {file[1] if file else _first_line(text)}") from error


def fault_of(log: DeltaLog | None, version: int | None = None) -> str | None:
    """The first fault of a log. Old commits that a checkpoint covers may be gone, and are not looked at."""
    if log is None:
        return None
    commits = log.commits
    newest = commits[-1] if commits else -1
    if log.last_trace > newest:
        return f"commit {newest + 1} is missing"  # its checksum or its checkpoint is still there
    if newest < 0 or (version is not None and version not in commits):
        return None  # no table; Delta's own error
    if fault := log.hint_fault():
        return fault
    target = newest if version is None else version
    base = max((number for number in log.checkpoints if number <= target), default=-1)
    if base < 0 and commits[0] > 0 and version is not None:
        return None  # cleaned up: Delta's own error
    try:
        what = f"checkpoint {base}"
        if base >= 0:
            log.check_checkpoint(base)
        for number in range(min(base + 1, target), target + 1):
            what = f"commit {number}"
            log.check_commit(number)
    except Unreadable as fault:
        return f"{what} {fault}"
    return None


def _message(lake: Lake, table: Table, fault: str) -> str:
    words = ["python", "-m", "jobs.repair_table", "--lake", lake.uri, "--table", table.name]
    if table.per_variant and lake.variant is not None:
        words += ["--variant", lake.variant]
    return f"table {table.name} in {lake.table_path(table)} is damaged: {fault}; to restore it: {shlex.join(words)}"


def _first_line(text: str) -> str:
    return next((line.strip(": ") for line in text.splitlines()[1:] if line.strip(": ")), text)
