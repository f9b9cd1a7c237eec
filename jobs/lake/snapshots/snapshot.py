"""One version of a table as its log describes it: columns, files, and the number of rows in each partition.

A job opens each table once, and all its reads are of that version. Whether a day has rows, how many, and in which files
is answered from the log; no query runs for it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from pyspark.sql.types import StructType

from jobs.lake.snapshots.urls import can_read_without_spark, file_url

UNSAFE_FEATURES = frozenset({"deletionVectors", "columnMapping"})  # readers of plain Parquet files see other rows
FILE_COLUMNS = {
    "path": pl.String, "value": pl.String, "rows": pl.Int64, "modified": pl.Int64, "bytes": pl.Int64,
    "first_ds": pl.String, "last_ds": pl.String,
}  # fmt: skip

Where = tuple[str, Sequence[str]]  # a column of texts, and a few values of it


@dataclass(frozen=True)
class Snapshot:
    """A version of a table, or some partitions of it.

    files: one row per file: path (as in the log), value (of the partition column, as text), rows (without those that a
    deletion vector deletes), modified (epoch ms), bytes, and the lowest and highest `ds` of its rows, null if the log
    does not say. unsafe_features: those of UNSAFE_FEATURES that the table uses.
    """

    table: str  # path or URI
    version: int
    schema: StructType
    partition: str  # the column
    files: pl.DataFrame
    partitioned_by: tuple[str, ...]  # columns; the days of a table that is not partitioned by `partition` are unknown
    unsafe_features: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, table: str, schema: StructType, partition: str) -> Snapshot:
        """A table without files."""
        return cls(table, -1, schema, partition, pl.DataFrame(schema=FILE_COLUMNS), (partition,))

    def between(self, first: object, last: object) -> Snapshot:
        """The partitions whose values, as text, are from `first` to `last`."""
        inside = pl.col("value").is_between(pl.lit(str(first)), pl.lit(str(last)))
        return replace(self, files=self.files.filter(inside))

    @property
    def rows(self) -> int:
        return int(self.files["rows"].sum())

    @property
    def urls(self) -> list[str]:
        """The escaped URLs of the files, in order."""
        return sorted(file_url(self.table, path) for path in self.files["path"])

    @property
    def is_readable_without_spark(self) -> bool:
        """Whether pyarrow can open the files, and plain Parquet readers see the table's rows in them."""
        return can_read_without_spark(self.table) and not self.unsafe_features

    def with_day(self, ds: dt.date) -> Snapshot:
        """The files that may have rows of a day."""
        day = pl.lit(str(ds))
        may_have = (pl.col("first_ds") <= day) & (day <= pl.col("last_ds"))
        return replace(self, files=self.files.filter(may_have.fill_null(True)))

    def require_plain_files(self) -> None:
        """Raises ValueError if the table uses Delta features that readers of plain Parquet files ignore."""
        if self.unsafe_features:
            raise ValueError(
                f"table {self.table} must not use {sorted(self.unsafe_features)}: "
                "readers of plain Parquet files would see other rows"
            )

    def latest_day(self) -> dt.date | None:
        """The latest day that has rows."""
        latest = self.files.filter(pl.col("rows") > 0)["value"].max()
        return None if latest is None else dt.date.fromisoformat(str(latest))

    def days(self) -> list[dt.date]:
        """The days that have rows, in order."""
        return [
            dt.date.fromisoformat(value) for value in self.files.filter(pl.col("rows") > 0)["value"].unique().sort()
        ]
