"""A few rows of a large day are found without reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql.types import ArrayType, IntegerType, StringType, StructField, StructType

from jobs.lake.snapshots import Snapshot, read_batches, rows
from jobs.lake.snapshots.snapshot import FILE_COLUMNS

SCHEMA = StructType(
    [
        StructField("history", ArrayType(IntegerType())),  # a list before the id, as the columns of a file are not flat
        StructField("user_id", StringType()),
        StructField("ds", StringType()),
    ]
)


class Opened:
    """A Parquet file that records which row groups are read, and of which columns."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self.file = file
        self.reads: list[tuple[int, tuple[str, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read_row_group(self, number: int, columns: Sequence[str]) -> pa.Table:
        self.reads.append((number, tuple(columns)))
        return self.file.read_row_group(number, columns)

    def iter_batches(self, rows: int, groups: Sequence[int], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self.reads += [(number, tuple(columns)) for number in groups]
        return self.file.iter_batches(rows, groups, columns)


def snapshot_of(folder: Path, users: Sequence[str]) -> Snapshot:
    """A day of users, in the given order, in a file with row groups of ten."""
    (folder / "ds=1").mkdir()
    read = pa.table({"history": [[n] for n in range(len(users))], "user_id": users})
    pq.write_table(read, folder / "ds=1" / "part", row_group_size=10)
    file = {"path": "ds=1/part", "value": "1", "rows": len(users), "modified": 0, "bytes": 0}
    files = pl.DataFrame([file | {"first_ds": "1", "last_ds": "1"}], schema=FILE_COLUMNS)
    return Snapshot(str(folder), 0, SCHEMA, "ds", files, ("ds",))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    """The files that are opened."""
    found: list[Opened] = []
    open_file = rows._parquet_file
    monkeypatch.setattr(rows, "_parquet_file", lambda url: found.append(Opened(open_file(url))) or found[-1])
    return found


def selected(snapshot: Snapshot, users: Sequence[str]) -> list[tuple[Any, ...]]:
    batches = read_batches(snapshot, ["user_id", "history", "ds"], where=("user_id", users))
    return [row for batch in batches for row in batch.iter_rows()]


def test_of_sorted_rows_only_the_row_groups_of_the_users_are_read(tmp_path: Path, opened: list[Opened]) -> None:
    snapshot = snapshot_of(tmp_path, [f"u{n:02}" for n in range(50)])
    assert selected(snapshot, ["u31", "u12", "nobody"]) == [("u12", [12], "1"), ("u31", [31], "1")]
    (file,) = opened
    assert {number for number, _ in file.reads} == {1, 3}


def test_of_other_rows_only_the_ids_are_read_where_the_users_are_not(tmp_path: Path, opened: list[Opened]) -> None:
    users = [f"u{n % 5 * 10 + n // 5:02}" for n in range(50)]  # each row group has users of the whole range
    snapshot = snapshot_of(tmp_path, users)
    place = users.index("u12")
    assert selected(snapshot, ["u12"]) == [("u12", [place], "1")]
    (file,) = opened
    assert {number for number, columns in file.reads if "history" in columns} == {place // 10}
    assert {number for number, columns in file.reads if columns == ("user_id",)} > {place // 10}


def test_without_any_of_the_users_nothing_but_ids_is_read(tmp_path: Path, opened: list[Opened]) -> None:
    snapshot = snapshot_of(tmp_path, ["b", "d"] * 10)
    assert selected(snapshot, ["a", "c", "e"]) == []
    assert selected(snapshot, []) == []
    assert {columns for file in opened for _, columns in file.reads} == {("user_id",)}
