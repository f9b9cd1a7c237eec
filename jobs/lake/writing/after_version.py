"""Adds rows in a commit that is bound to the version of the table from which they were made."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.tables import Table
from jobs.lake.writing.transaction import Transaction


def commit_after(spark: SparkSession, path: str, table: Table, rows: DataFrame, version: int | None) -> bool:
    """Add `rows` to a table whose newest version is `version` (None: that has no rows), without reading its rows.

    False, and nothing is added, if it is another one. Raises one of `jobs.lake.errors.CONFLICTS` if another writer that
    has read the table commits before this one.
    """
    transaction = Transaction(spark, path, table)
    if not transaction.bind_to(version):
        return False
    transaction.write(rows)
    transaction.commit()
    return True
