"""Writes rows as one commit of a Delta table. Only this folder writes Delta tables in a day's run.

Spark writes, except one row that is inserted on a local disk (`insert_row`): delta-rs does that without a JVM.
"""

from jobs.lake.writing.by_spark import commit, insert
from jobs.lake.writing.one_row import insert_row

__all__ = ["commit", "insert", "insert_row"]
