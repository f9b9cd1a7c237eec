"""Writes the files of a commit, lets them be checked, then commits them: no row is computed or stored twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.queries import empty_frame
from jobs.lake.snapshots import Snapshot, can_read_by_name
from jobs.lake.tables import Table
from jobs.lake.writing.transaction import Transaction

Check = Callable[[DataFrame], None]  # of rows that are written and not committed; what it raises stops the commit


def can_check_files(path: str, snapshot: Snapshot | None) -> bool:
    """Whether the rows of files in a table's folder are those that the table will have. snapshot: the table now."""
    return can_read_by_name(path) and (snapshot is None or not snapshot.unsafe_features)


def commit_checked(spark: SparkSession, path: str, table: Table, rows: DataFrame, predicate: str, check: Check) -> None:
    """Write `rows`, call `check` with what was written, and replace the rows that fulfil `predicate` by them.

    If `check` raises, nothing is committed; the files stay until maintain_tables removes files of no version.
    """
    transaction = Transaction(spark, path, table, predicate)
    transaction.write(rows)
    check(_written(spark, path, table, transaction.added))
    transaction.commit()


def _written(spark: SparkSession, path: str, table: Table, added: Sequence[str]) -> DataFrame:
    """The rows of the files that were added."""
    if not added:
        return empty_frame(spark, table.schema)
    reader = spark.read.schema(table.schema).option("basePath", path)
    return reader.parquet(*(f"{path}/{file}" for file in added)).select(table.columns)
