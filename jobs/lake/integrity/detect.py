"""Detects damaged tables: opens a table only if its log is whole, and turns Delta's errors into typed ones.

Each error is one line that names the table, the fault and the command that repairs it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import SparkSession

from jobs.lake.integrity import arrow_log, hadoop_log
from jobs.lake.integrity.delta_log import DeltaLog
from jobs.lake.snapshots import (
    Snapshot,
    can_open_by_delta_rs,
    can_read_without_spark,
    read_snapshot,
    read_snapshot_by_spark,
    url_of,
)

# Delta's errors for a log from which it cannot build a version.
BROKEN_LOG = re.compile(
    "DELTA_MISSING_PART_FILES|DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_LOG_FILE_NOT_FOUND"
    "|DELTA_STATE_RECOVER_ERROR|Could not find any delta files"
)
BROKEN_FILE = re.compile(r"FAILED_READ_FILE|ChecksumException|FileReadException|PATH_NOT_FOUND")
FILE = re.compile(r"(?:reading file|Checksum error:|Path does not exist:) (\S+?)(?:\.\s|\s|$)")


class TableDamaged(ValueError):
    """A table's log is damaged: `repair_table` restores the last whole version."""


class VersionLost(TableDamaged):
    """An old version of a table cannot be read any more; the newest one is whole."""


class DataFileDamaged(ValueError):
    """A data file of a table is missing or unreadable."""


@dataclass(frozen=True)
class StoredTable:
    """A table as it is stored in a lake; `variant` names the variant whose model it belongs to, if any."""

    session: Callable[[], SparkSession]  # starts Spark if it is needed
    lake_uri: str
    name: str
    path: str  # path or URI
    variant: str | None = None

    @property
    def spark(self) -> SparkSession:
        return self.session()

    def snapshot(self, partition: str, version: int | None = None) -> Snapshot | None:
        """A version of the table (default: the newest); None if it has no commit. partition: its partition column.

        If its first commit was interrupted, it has a log without a commit. Raises what `open_table` raises, and
        VersionLost for a version that does not exist.
        """
        with open_table(self, version) as log:
            if log is None or not log.commits:
                return None
            number = log.commits[-1] if version is None else version
            if number not in (readable := log.readable_versions):
                raise VersionLost(
                    f"version of table {self.name} in {self.path} must be {_listed(readable)}, got {number}"
                )
            if can_open_by_delta_rs(self.path):
                with suppress(DeltaError):  # Spark supports more tables, and says what is wrong with a log
                    return read_snapshot(self.path, number, partition)
            return read_snapshot_by_spark(self.spark, self.path, number, partition)

    def repair_command(self) -> str:
        words = ["python", "-m", "jobs.repair_table", "--lake", self.lake_uri, "--table", self.name]
        return shlex.join(words if self.variant is None else [*words, "--variant", self.variant])


@contextmanager
def open_table(table: StoredTable, version: int | None = None) -> Iterator[DeltaLog | None]:
    """Check the table's log up to `version` (default: the newest) and yield it, or None if there is no log.

    Raises TableDamaged if the log is damaged, VersionLost if only the requested old version is affected. Inside the
    block, errors that Delta raises on a damaged log become TableDamaged.
    """
    log = _read_log(table)
    if log is not None and log.first_fault(version) is not None:
        log = _read_log(table)  # another writer may have committed between two reads
    if log is not None and (fault := log.first_fault(version)):
        if version is not None and log.first_fault() is None:
            raise VersionLost(
                f"version {version} of table {table.name} in {table.path} is lost: {fault}; newer ones are whole"
            )
        raise TableDamaged(_message(table, fault))
    with delta_errors(table):
        yield log


def _read_log(table: StoredTable) -> DeltaLog | None:
    if can_read_without_spark(table.path):
        return arrow_log.read_log(table.path, url_of(table.path))
    return hadoop_log.read_log(table.spark, table.path)


@contextmanager
def delta_errors(table: StoredTable) -> Iterator[None]:
    """Raise TableDamaged for the errors that Delta raises on a damaged log."""
    try:
        yield
    except (Py4JJavaError, CapturedException) as error:
        text = str(error)
        in_log = BROKEN_FILE.search(text) and f"/{table.name}/_delta_log/" in text
        if not in_log and not BROKEN_LOG.search(text):
            raise
        raise TableDamaged(_message(table, _first_line(text))) from error


@contextmanager
def data_file_errors() -> Iterator[None]:
    """Raise DataFileDamaged for the errors that Spark raises on a missing or unreadable data file."""
    try:
        yield
    except (Py4JJavaError, CapturedException) as error:
        text = str(error)
        if not BROKEN_FILE.search(text):
            raise
        file = FILE.search(text)
        raise DataFileDamaged(f"a data file is missing or damaged: {file[1] if file else _first_line(text)}") from error


def _message(table: StoredTable, fault: str) -> str:
    return f"table {table.name} in {table.path} is damaged: {fault}; to restore it: {table.repair_command()}"


def _listed(versions: Sequence[int]) -> str:
    return f"from {versions[0]} to {versions[-1]}" if versions else "one that its log can rebuild, which has none"


def _first_line(text: str) -> str:
    return next((line.strip(": ") for line in text.splitlines()[1:] if line.strip(": ")), text)
