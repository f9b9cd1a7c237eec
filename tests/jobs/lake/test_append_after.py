"""Rows that are added to the version of a table from which they were made, and to no other."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.lake.writing.transaction import Transaction

TABLE = tables.VOCABULARIES


def rows(spark: SparkSession, *values: str, index: int = 2) -> DataFrame:
    made = [("item_id", value, index + number, dt.date(2026, 1, 5)) for number, value in enumerate(values)]
    return spark.createDataFrame(made, TABLE.schema)


def values(lake: Lake) -> list[str]:
    return sorted(row.value for row in lake.read(TABLE).collect())


@pytest.fixture
def filled(lake: Lake, spark: SparkSession) -> Lake:
    lake.append_after(TABLE, rows(spark, "a", "b"), None)
    return lake


def test_rows_follow_the_version_that_was_read_and_no_other(filled: Lake, spark: SparkSession) -> None:
    read = filled.version(TABLE)
    assert filled.append_after(TABLE, rows(spark, "c", index=4), read) == 1
    assert values(filled) == ["a", "b", "c"]
    newest = filled.version(TABLE)
    for version in (read, None):
        with pytest.raises(KeyConflict, match=rf"another writer committed to .*vocabularies after version {version}"):
            filled.append_after(TABLE, rows(spark, "d", index=4), version)
    with pytest.raises(SchemaMismatch, match="missing value string"):
        filled.append_after(TABLE, rows(spark, "d").drop("value"), newest)
    assert (filled.version(TABLE), values(filled)) == (newest, ["a", "b", "c"])


@pytest.mark.parametrize("other", ["adds", "removes an id"])
def test_a_commit_while_the_rows_are_written_is_a_conflict(
    filled: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Both have read the same version. To Delta the other one is no blind append, though it adds files alone."""
    version, write = filled.version(TABLE), Transaction.write

    def after_another(*args: Any) -> Any:
        monkeypatch.undo()
        if other == "adds":
            filled.append_after(TABLE, rows(spark, "c", index=4), version)
        else:
            DeltaTable.forPath(spark, filled.table_path(TABLE)).update("value = 'a'", {"value": "'gone'"})
        return write(*args)

    monkeypatch.setattr(Transaction, "write", after_another)
    with pytest.raises(KeyConflict, match=r"another writer committed first to .*vocabularies; nothing was written"):
        filled.append_after(TABLE, rows(spark, "d", index=4), version)
    assert values(filled) == (["a", "b", "c"] if other == "adds" else ["b", "gone"])


def test_of_two_writers_of_the_first_rows_one_fails(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Transaction.write

    def after_another(*args: Any) -> Any:
        monkeypatch.undo()
        lake.append_after(TABLE, rows(spark, "a"), None)
        return write(*args)

    monkeypatch.setattr(Transaction, "write", after_another)
    with pytest.raises(KeyConflict):
        lake.append_after(TABLE, rows(spark, "b"), None)
    assert values(lake) == ["a"]
