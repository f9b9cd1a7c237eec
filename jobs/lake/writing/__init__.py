"""Writes rows as one commit of a Delta table. Only this folder writes Delta tables in a day's run.

Spark writes them, except on a local disk: a single row (`insert_row`), which delta-rs inserts without a JVM, and rows
that Python workers make (`commit_by_workers`).
"""

from jobs.lake.writing.by_spark import append_after, commit, insert
from jobs.lake.writing.by_workers import WorkerRows, commit_by_workers
from jobs.lake.writing.checked import Check, can_check_files
from jobs.lake.writing.one_row import insert_row

__all__ = [
    "Check",
    "WorkerRows",
    "append_after",
    "can_check_files",
    "commit",
    "commit_by_workers",
    "insert",
    "insert_row",
]
