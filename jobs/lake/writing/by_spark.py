"""Writes rows as one commit of a Delta table, by Spark."""

from __future__ import annotations

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake.errors import RETRY_HINT, KeyConflict, WriteConflict, commit_errors
from jobs.lake.integrity.detect import StoredTable, delta_errors
from jobs.lake.tables import Table, check_schema
from jobs.lake.writing.after_version import commit_after
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


def insert(stored: StoredTable, table: Table, row: DataFrame, existing: StructType | None) -> None:
    """Add one row in one commit. existing: as in `commit`.

    Raises KeyConflict, and adds nothing, if the table has a row with its key or another writer adds one at the same
    time.
    """
    check_schema(table, row.schema)
    same_key = " and ".join(f"existing.{name} = added.{name}" for name in table.key)
    try:
        with commit_errors(stored.path):
            if existing is None:
                commit(stored, table, row.limit(0), None, None)
            old = DeltaTable.forPath(stored.spark, stored.path).alias("existing")
            merge = old.merge(row.select(table.columns).alias("added"), same_key)
            merged = merge.whenNotMatchedInsertAll().execute().first()
    except WriteConflict as error:
        raise KeyConflict(f"another writer committed first to {stored.path}; {RETRY_HINT}") from error
    if merged is None or merged["num_inserted_rows"] != 1:
        raise KeyConflict(f"{stored.path} has a row with the same {', '.join(table.key)} as a row to be added")


def append_after(
    stored: StoredTable, table: Table, rows: DataFrame, version: int | None, existing: StructType | None
) -> int:
    """Add `rows`, which were made from a version of the table, in one commit; returns their number. No row is read.

    version: None if there was no table. existing: as in `commit`. Raises KeyConflict, and adds no row, if another
    writer has committed since that version.
    """
    check_schema(table, rows.schema)
    counted = Observation()
    rows = rows.select(table.columns).observe(counted, F.count(F.lit(1)).alias("rows"))
    try:
        with delta_errors(stored), commit_errors(stored.path):
            if existing is None:
                _save(stored, table, rows.limit(0), None)
            added = commit_after(stored.spark, stored.path, table, rows, version)
    except WriteConflict as error:
        raise KeyConflict(f"another writer committed first to {stored.path}; {RETRY_HINT}") from error
    if not added:
        raise KeyConflict(f"another writer committed to {stored.path} after version {version}; {RETRY_HINT}")
    return int(counted.get["rows"])
