"""Writes rows as one commit of a Delta table, by Spark."""

from __future__ import annotations

from collections.abc import Sequence

from delta.tables import DeltaTable
from pyspark.errors.exceptions.captured import SparkRuntimeException
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake.errors import RETRY_HINT, KeyConflict, WriteConflict, commit_errors
from jobs.lake.integrity.detect import StoredTable, delta_errors
from jobs.lake.tables import Table, check_schema
from jobs.lake.writing.checked import Check, commit_checked


def commit(
    stored: StoredTable,
    table: Table,
    rows: DataFrame,
    predicate: str | None,
    existing: StructType | None,
    check: Check | None = None,
) -> int:
    """Replace the rows that fulfil `predicate` by `rows`, or append `rows` if it is None; returns their number.

    existing: the columns of the stored table, None if there is none. check: called with the rows after they were
    written and before they are committed; requires a predicate, and `can_check_files`. Raises what it raises,
    SchemaMismatch (before anything is written), WriteConflict or DiskFull.
    """
    check_schema(table, rows.schema)
    if existing is not None:
        check_schema(table, existing)
    counted = Observation()
    rows = rows.select(table.columns).observe(counted, F.count(F.lit(1)).alias("rows"))
    with delta_errors(stored), commit_errors(stored.path):
        if check is not None and predicate is not None:
            commit_checked(stored.spark, stored.path, table, rows, predicate, check)
        else:
            _save(stored, table, rows, predicate)
    return int(counted.get["rows"])


def _save(stored: StoredTable, table: Table, rows: DataFrame, predicate: str | None) -> None:
    writer = rows.write.format("delta").partitionBy(table.partition).mode("append")
    if predicate is not None:  # also for a new table: an append does not conflict with another first commit
        writer = writer.mode("overwrite").option("replaceWhere", predicate)
    if table.added:  # a stored table may lack them
        writer = writer.option("mergeSchema", True)
    writer.save(stored.path)


def insert(
    stored: StoredTable, table: Table, rows: DataFrame, key: Sequence[str], count: int, existing: StructType | None
) -> int:
    """Add `rows` in one commit; returns their number, which must be `count`. existing: as in `commit`.

    Raises KeyConflict, and adds no row, if the table has a row with one of their keys or another writer adds one at
    the same time.
    """
    check_schema(table, rows.schema)
    try:
        with commit_errors(stored.path):
            if existing is None:
                commit(stored, table, rows.limit(0), None, None)
            inserted = _merge(stored, table, rows, key, one_row=count == 1)
    except WriteConflict as error:
        raise KeyConflict(f"another writer committed first to {stored.path}; {RETRY_HINT}") from error
    if inserted != count:
        raise KeyConflict(f"{stored.path} has a row with the same {', '.join(key)} as a row to be added")
    return count


def _merge(stored: StoredTable, table: Table, rows: DataFrame, key: Sequence[str], *, one_row: bool) -> int | None:
    """Insert `rows` and return how many were inserted; None if one of several rows matched, so that none was."""
    same_key = " and ".join(f"existing.{name} = added.{name}" for name in key)
    existing = DeltaTable.forPath(stored.spark, stored.path).alias("existing")
    merge = existing.merge(rows.select(table.columns).alias("added"), same_key).whenNotMatchedInsertAll()
    if not one_row:  # all rows or none: a match fails the whole merge
        merge = merge.whenMatchedUpdate(set={table.columns[-1]: "raise_error('key conflict')"})
    try:
        merged = merge.execute().first()
    except SparkRuntimeException as error:
        if "USER_RAISED_EXCEPTION" not in str(error):
            raise
        return None
    return None if merged is None else int(merged["num_inserted_rows"])
