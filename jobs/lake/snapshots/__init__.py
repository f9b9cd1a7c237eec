"""Versions of tables read from their logs: files, row counts and small tables, without Spark where possible."""

from jobs.lake.snapshots.frames import can_list_files, read_listed_files, read_version
from jobs.lake.snapshots.reading import read_snapshot, read_snapshot_by_spark
from jobs.lake.snapshots.rows import as_rows, read_rows
from jobs.lake.snapshots.snapshot import Snapshot
from jobs.lake.snapshots.urls import can_read_without_spark, file_url, is_local, local_folder_of, url_of

__all__ = [
    "Snapshot",
    "as_rows",
    "can_list_files",
    "can_read_without_spark",
    "file_url",
    "is_local",
    "local_folder_of",
    "read_listed_files",
    "read_rows",
    "read_snapshot",
    "read_snapshot_by_spark",
    "read_version",
    "url_of",
]
