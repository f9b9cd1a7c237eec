"""Inserts one row, a partition of its own, by compare-and-set: by delta-rs on a local disk, by Spark elsewhere.

delta-rs commits version N as a hard link to a complete file, which fails if there is a version N. So exactly one of the
writers that have read version N - 1 succeeds. The others read the new version; if it has their key, they add nothing.
In an object store, other drivers are excluded by the LogStore of Spark's configuration, which delta-rs does not use.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from jobs.lake.errors import KeyConflict, commit_errors
from jobs.lake.integrity.delta_log import HINT, commit_name
from jobs.lake.integrity.detect import StoredTable
from jobs.lake.session.settings import MARK
from jobs.lake.snapshots import can_open_by_delta_rs, local_path
from jobs.lake.tables import Table, check_schema
from jobs.lake.writing.by_spark import insert
from jobs.workers.files import statistic_text

LOG = "_delta_log"
# As Spark records them. A commit that is cut short is detected by them: it lists fewer rows.
ONE_ROW = {"numFiles": "1", "numOutputRows": "1"}
PLAIN_WRITER = 2  # the writer version without features, such as constraints, that only Spark's writer follows


def insert_row(stored: StoredTable, table: Table, values: Mapping[str, Any], existing: StructType | None) -> None:
    """Add a row (values by column) in one commit. existing: as in `commit`.

    The table's key must be its partition column, and a number: its text is part of a file's path. Raises
    KeyConflict, and adds nothing, if the table has a row with the key; SchemaMismatch, TableDamaged or DiskFull.
    """
    folder = local_path(stored.path)
    if existing is None or folder is None or not (can_link(folder / LOG) and can_commit(stored.path, folder)):
        row = stored.spark.createDataFrame([tuple(values[name] for name in table.columns)], table.schema)
        insert(stored, table, row, existing)
        return
    check_schema(table, existing)
    with commit_errors(stored.path):
        while not _insert_after_newest_version(stored, folder, table, values):
            pass  # another writer has added the version; the row is compared with the newer one


def can_link(folder: Path) -> bool:
    """Whether the file system of a folder has hard links; some mounted stores have none."""
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    probe.touch()
    try:
        os.link(probe, link := probe.with_suffix(".link.tmp"))
        link.unlink()
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def can_commit(uri: str, folder: Path) -> bool:
    """Whether delta-rs can commit to a table, given by its path or URI and its folder, as Spark would."""
    try:
        return can_open_by_delta_rs(uri) and DeltaTable(str(folder)).protocol().min_writer_version <= PLAIN_WRITER
    except DeltaError:
        return False


def _insert_after_newest_version(stored: StoredTable, folder: Path, table: Table, values: Mapping[str, Any]) -> bool:
    """Commit the row as the next version; False, and nothing is added, if another writer adds that version first.

    folder: of the stored table. Raises KeyConflict if the newest version has a row with the key.
    """
    key = str(values[table.partition])
    snapshot = stored.snapshot(table.partition)
    assert snapshot is not None  # the table exists
    version = snapshot.version
    if key in snapshot.files["value"]:
        raise KeyConflict(f"{stored.path} has a row with the same {table.partition} as a row to be added")
    path = f"{table.partition}={key}/part-00000-{uuid.uuid4()}-c000.snappy.parquet"
    file, commit = folder / path, folder / LOG / commit_name(version + 1)
    _write_file(file, table, values)
    add = AddAction(path, file.stat().st_size, {table.partition: key}, _now(), True, _statistics(table, values))
    # delta-rs may replace the name of the newest checkpoint, but not Hadoop's checksum of it
    (folder / LOG / f".{HINT}.crc").unlink(missing_ok=True)
    try:
        _commit(DeltaTable(str(folder), version=version), add, table.partition)
    except (DeltaError, OSError):
        if not commit.exists():
            file.unlink()
            raise
    # read back: Spark, too, may have replaced the commit, as it looks for the file and then renames its own
    if path in commit.read_text("utf-8"):
        return True
    file.unlink()
    return False


def _commit(read: DeltaTable, add: AddAction, partition: str) -> None:
    """Add a file as the version after `read`. Raises DeltaError if that version exists.

    There is no retry, which would append the file to any newer version. The clean-up of the log is left to
    maintain_tables. The commit has the mark (`MARK`) of the running Spark session, if that has one.
    """
    session = SparkSession.getActiveSession()
    mark = None if session is None else session.conf.get(MARK, None)
    recorded = {"operationMetrics": ONE_ROW, **({} if mark is None else {"userMetadata": mark})}
    read.create_write_transaction(
        [add],
        "append",
        read.schema(),
        [partition],
        commit_properties=CommitProperties(max_commit_retries=0, custom_metadata=recorded),
        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
    )


def _write_file(file: Path, table: Table, values: Mapping[str, Any]) -> None:
    """A Parquet file like those of Spark: without the partition column, times as INT96."""
    schema = to_arrow_schema(_without_partition(table), timestamp_utc=True)
    rows = pa.table({name: pa.array([values[name]], schema.field(name).type) for name in schema.names}, schema)
    file.parent.mkdir(exist_ok=True)
    pq.write_table(rows, file, use_deprecated_int96_timestamps=True)


def _without_partition(table: Table) -> StructType:
    return table.pick(*(name for name in table.columns if name != table.partition))


def _statistics(table: Table, values: Mapping[str, Any]) -> str:
    """Delta's statistics of the file, for columns of numbers, days, times (to the millisecond) and text."""
    columns = [name for name in table.columns if name != table.partition]
    ends = {name: values[name] for name in columns if values[name] is not None}
    nulls = {name: int(values[name] is None) for name in columns}
    return json.dumps(
        {"numRecords": 1, "minValues": ends, "maxValues": ends, "nullCount": nulls}, default=statistic_text
    )


def _now() -> int:
    return int(time.time() * 1_000)
