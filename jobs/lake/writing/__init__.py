"""Writes rows as one commit of a Delta table. Only this folder writes Delta tables in a day's run.

Spark writes them, except a single row on a local disk (`insert_row`), which delta-rs inserts without a JVM.
"""

from jobs.lake.writing.by_spark import commit, insert
from jobs.lake.writing.checked import Check, can_check_files
from jobs.lake.writing.one_row import insert_row

__all__ = ["Check", "can_check_files", "commit", "insert", "insert_row"]
