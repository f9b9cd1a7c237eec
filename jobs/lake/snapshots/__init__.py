"""Versions of tables read from their logs: files, row counts and small tables, without Spark where possible."""

from jobs.lake.snapshots.arrow_types import in_type
from jobs.lake.snapshots.frames import can_read_by_name, read_files, sampled, spark_frame
from jobs.lake.snapshots.reading import open_delta_table, operations_after, read_snapshot, read_snapshot_by_spark
from jobs.lake.snapshots.rows import as_rows, read_batches, read_rows
from jobs.lake.snapshots.snapshot import Snapshot, Where
from jobs.lake.snapshots.urls import (
    can_open_by_delta_rs,
    can_read_without_spark,
    file_url,
    is_local,
    local_path,
    url_of,
)

__all__ = [
    "Snapshot",
    "Where",
    "as_rows",
    "can_open_by_delta_rs",
    "can_read_by_name",
    "can_read_without_spark",
    "file_url",
    "in_type",
    "is_local",
    "local_path",
    "open_delta_table",
    "operations_after",
    "read_batches",
    "read_files",
    "read_rows",
    "read_snapshot",
    "read_snapshot_by_spark",
    "sampled",
    "spark_frame",
    "url_of",
]
