"""The lake: where each table is stored, how its days are read, and how they are written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from threading import RLock
from typing import Any

import polars as pl
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake import writing
from jobs.lake.integrity.detect import StoredTable, delta_errors
from jobs.lake.integrity.shared import SHARED, open_snapshot
from jobs.lake.queries import empty_frame
from jobs.lake.snapshots import Snapshot, Where, as_rows, read_batches, read_rows, sampled, spark_frame
from jobs.lake.tables import Table, check_partition, check_schema, readable
from jobs.lake.writing import Check
from model.data.pinned_files import PinnedFiles

Session = SparkSession | Callable[[], SparkSession]  # or a function that starts it when it is first needed


class NoSuchDay(ValueError):
    """The table has no rows for the requested day."""


class Lake:
    """The folder of all tables (any Hadoop URI). A variant of the model has its own tables of model outputs."""

    def __init__(self, spark: Session, uri: str, variant: str | None = None, *, opens_once: bool = False) -> None:
        """opens_once: reads between two writes of a table are of one version; otherwise each one opens the newest."""
        self._start, self.uri, self.variant, self.opens_once = spark, uri, variant, opens_once
        self._snapshots: dict[tuple[str, int | None], Snapshot | None] = {}
        self._shared = SHARED.get() if opens_once else None
        self._lock = RLock()

    @cached_property
    def spark(self) -> SparkSession:
        return self._start if isinstance(self._start, SparkSession) else self._start()

    def for_job(self) -> Lake:
        """The same lake, which opens each table once, at its newest version."""
        return Lake(lambda: self.spark, self.uri, self.variant, opens_once=True)

    def of_variant(self, variant: str | None) -> Lake:
        """The same lake as a variant of the model sees it; None: the main model."""
        return Lake(lambda: self.spark, self.uri, variant, opens_once=self.opens_once)

    def path(self, *parts: str) -> str:
        return "/".join([self.uri.rstrip("/"), *parts])

    def model_path(self, *parts: str) -> str:
        """Like `path`, for the outputs of a model: those of a variant are under variants/NAME."""
        return self.path(*parts) if self.variant is None else self.path("variants", self.variant, *parts)

    def table_path(self, table: Table) -> str:
        return self.model_path(table.name) if table.per_variant else self.path(table.name)

    def snapshot(self, table: Table, version: int | None = None) -> Snapshot | None:
        """A version of a table, by default the newest; None if it was never written.

        Raises TableDamaged, VersionLost, or SchemaMismatch if the stored columns differ from the declared ones.
        """
        key = self.table_path(table), version
        with self._lock:
            if key not in self._snapshots:
                self._snapshots[key] = open_snapshot(self._stored(table), table.partition, version, self._shared)
            snapshot = self._snapshots[key]
            if not self.opens_once:
                self._snapshots.clear()
        if snapshot is not None:
            snapshot = replace(snapshot, schema=readable(table, snapshot.schema))
            check_schema(table, snapshot.schema)
            check_partition(table, snapshot.partitioned_by)
        return snapshot

    def has(self, table: Table) -> bool:
        """Whether the table has a commit. If its first commit was interrupted, it has a log without a commit."""
        return self.snapshot(table) is not None

    def version(self, table: Table) -> int:
        """The version of a table that this lake reads. Raises NoSuchDay if the table does not exist."""
        return self._required_snapshot(table).version

    def days_of(self, table: Table, last: dt.date, days: int, version: int | None = None) -> Snapshot | None:
        """The part of a table's snapshot with `days` days, the latest of which is `last`; None if there is no table."""
        snapshot = self.snapshot(table, version)
        return None if snapshot is None else snapshot.between(last - dt.timedelta(days=days - 1), last)

    def row_count(self, table: Table, ds: dt.date, *, version: int | None = None) -> int:
        """The number of rows of a day, from the table's log."""
        return 0 if (of_day := self.days_of(table, ds, 1, version)) is None else of_day.rows

    def has_day(self, table: Table, ds: dt.date, *, version: int | None = None) -> bool:
        """Whether a day has rows, from the table's log."""
        return self.row_count(table, ds, version=version) > 0

    def read(self, table: Table, *, version: int | None = None) -> DataFrame:
        """A whole table with its declared columns; an empty frame if it was never written."""
        return self._frame(table, self.snapshot(table, version))

    def window(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> DataFrame:
        """The rows of `days` days, the latest of which is `last`."""
        return self.between(table, last - dt.timedelta(days=days - 1), last, version=version)

    def between(self, table: Table, first: dt.date, last: dt.date, *, version: int | None = None) -> DataFrame:
        """The rows of the days from `first` to `last`, both included."""
        rows = self._frame(table, self.days_of(table, last, (last - first).days + 1, version))
        return rows.where(F.col("ds").between(F.lit(first), F.lit(last)))

    def day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        """The rows of the day `ds`; may be empty."""
        return self.between(table, ds, ds, version=version)

    def required_day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        """Like `day`, but raises NoSuchDay if there are no rows."""
        self.require_day(table, ds, version=version)
        return self.day(table, ds, version=version)

    def require_day(self, table: Table, ds: dt.date, *, version: int | None = None) -> None:
        """Raises NoSuchDay if a table has no rows of a day."""
        if not self.has_day(table, ds, version=version):
            raise NoSuchDay(f"table {table.name} has no row for {ds} in {self.table_path(table)}")

    def rows(self, table: Table, ds: dt.date | None = None, *, version: int | None = None) -> list[Row]:
        """The rows of a day, or of all days, of a small table; times are in UTC. Read without Spark where possible."""
        return as_rows(self.small_table(table, ds, version=version))

    def small_table(
        self, table: Table, ds: dt.date | None = None, *, days: int = 1, version: int | None = None
    ) -> pl.DataFrame:
        """Like `rows`, as a Polars frame. days: how many days, the latest of which is `ds`."""
        snapshot = self.snapshot(table, version) if ds is None else self.days_of(table, ds, days, version)
        snapshot = snapshot or Snapshot.empty(self.table_path(table), table.schema, table.partition)
        if snapshot.is_readable_without_spark:
            return read_rows(snapshot, table.columns)
        rows = self._frame(table, snapshot) if ds is None else self.window(table, ds, days, version=version)
        return pl.DataFrame(rows.toArrow())

    def batches(
        self,
        table: Table,
        ds: dt.date,
        columns: Sequence[str],
        max_rows: int | None = None,
        version: int | None = None,
        where: Where | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Batches of a day's rows, as `read_batches` has them. Read without Spark if possible."""
        snapshot = self.days_of(table, ds, 1, version)
        if snapshot is not None and snapshot.is_readable_without_spark:
            yield from read_batches(snapshot, columns, max_rows, where)
        elif snapshot is not None:
            rows = self.day(table, ds, version=version).select(*columns)
            yield pl.DataFrame(sampled(rows, snapshot.rows, max_rows, where).toArrow())

    def latest_before(self, table: Table, ds: dt.date, days: int) -> DataFrame:
        """The rows of `latest_day_before`; an empty frame if there is no such day."""
        last = self.latest_day_before(table, ds, days)
        return self.day(table, last) if last else empty_frame(self.spark, table.schema)

    def latest_day_before(self, table: Table, ds: dt.date, days: int) -> dt.date | None:
        """The latest of the `days` days before `ds` that has rows; None if none has."""
        before = self.days_of(table, ds - dt.timedelta(days=1), days)
        return None if before is None else before.latest_day()

    def pinned(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> PinnedFiles:
        """The files and the row count of `days` days of a version (default: the newest), for readers without Spark.

        Raises NoSuchDay if there are no rows, and what `Snapshot.require_plain_files` raises.
        """
        snapshot = self._required_snapshot(table, version)
        snapshot.require_plain_files()
        window = snapshot.between(first := last - dt.timedelta(days=days - 1), last)
        if window.rows == 0:
            raise NoSuchDay(f"table {table.name} has no row from {first} to {last} in {self.table_path(table)}")
        return PinnedFiles(snapshot.version, tuple(window.urls), window.rows)

    def overwrite(self, table: Table, ds: dt.date, rows: DataFrame, check: Check | None = None) -> int:
        """Replace a day in one commit; see `overwrite_where`."""
        return self.overwrite_where(table, rows.withColumn("ds", F.lit(ds)), f"ds = DATE'{ds.isoformat()}'", check)

    def overwrite_by_workers(self, table: Table, ds: dt.date, rows: writing.WorkerRows, row_group_rows: int) -> int:
        """Like `overwrite`; the Python workers that make the rows write the files where `commit_by_workers` can."""
        with self._written(table) as existing:
            return writing.commit_by_workers(self._stored(table), table, ds, rows, row_group_rows, existing)

    def overwrite_days(self, table: Table, days: Sequence[dt.date], rows: DataFrame) -> int:
        """Replace `days` by `rows`, which must not contain other days, in one commit."""
        return self.overwrite_where(table, rows, "ds in (" + ", ".join(f"DATE'{day}'" for day in days) + ")")

    def append(self, table: Table, rows: DataFrame) -> int:
        """Add `rows` in one commit."""
        return self.overwrite_where(table, rows, None)

    def overwrite_where(self, table: Table, rows: DataFrame, predicate: str | None, check: Check | None = None) -> int:
        """Replace the rows that fulfil the SQL `predicate`, which must not contain user input, by `rows`; None: add.

        check: gets the written rows before the commit, if `can_check_files`. Raises SchemaMismatch before any write.
        """
        with self._written(table) as existing:
            return writing.commit(self._stored(table), table, rows, predicate, existing, check)

    def append_after(self, table: Table, rows: DataFrame, version: int | None) -> int:
        """Add rows in one commit; raises KeyConflict unless `version` is the newest (None: if there is a row)."""
        with self._written(table) as existing:
            return writing.append_after(self._stored(table), table, rows, version, existing)

    def insert(self, table: Table, row: DataFrame) -> None:
        """Add one row in one commit; raises KeyConflict if the table has its key."""
        with self._written(table) as existing:
            writing.insert(self._stored(table), table, row, existing)

    def insert_row(self, table: Table, values: Mapping[str, Any]) -> None:
        """Like `insert` for one row, whose key is its partition; without Spark on a local disk. values: by column."""
        with self._written(table) as existing:
            writing.insert_row(self._stored(table), table, values, existing)

    def _required_snapshot(self, table: Table, version: int | None = None) -> Snapshot:
        if (snapshot := self.snapshot(table, version)) is not None:
            return snapshot
        raise NoSuchDay(f"there is no table {table.name} in {self.table_path(table)}")

    def _frame(self, table: Table, snapshot: Snapshot | None) -> DataFrame:
        """The declared columns of `spark_frame`, which may have rows of other days."""
        if snapshot is None or snapshot.rows == 0:
            return empty_frame(self.spark, table.schema)
        with delta_errors(self._stored(table)):
            return spark_frame(self.spark, snapshot).select(table.columns)

    @contextmanager
    def _written(self, table: Table) -> Iterator[StructType | None]:
        """Yield the columns of the stored table (None if there is none) to a writer; the next read opens it again."""
        snapshot = self.snapshot(table)
        try:
            yield None if snapshot is None else snapshot.schema
        finally:
            with self._lock:
                self._snapshots.pop((self.table_path(table), None), None)

    def _stored(self, table: Table) -> StoredTable:
        variant = self.variant if table.per_variant else None
        return StoredTable(lambda: self.spark, self.uri, table.name, self.table_path(table), variant)
