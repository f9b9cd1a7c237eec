"""The lake: where each table is stored, how its days are read, and how they are written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake import writing
from jobs.lake.files import glob_statuses
from jobs.lake.integrity.detect import StoredTable, delta_errors, open_table
from jobs.lake.tables import Table, check_schema
from model.data.pinned_files import PinnedFiles


class NoSuchDay(ValueError):
    """The table has no rows for the requested day."""


@dataclass(frozen=True)
class Lake:
    """The folder of all tables (any Hadoop URI). A variant of the model has its own tables of model outputs."""

    spark: SparkSession
    uri: str
    variant: str | None = None

    def path(self, *parts: str) -> str:
        return "/".join([self.uri.rstrip("/"), *parts])

    def model_path(self, *parts: str) -> str:
        """Like `path`, for the outputs of a model: those of a variant are under variants/NAME."""
        return self.path(*parts) if self.variant is None else self.path("variants", self.variant, *parts)

    def table_path(self, table: Table) -> str:
        return self.model_path(table.name) if table.per_variant else self.path(table.name)

    def delta_paths(self) -> Iterator[str]:
        """The paths of all Delta tables of the lake, those of variants included."""
        for pattern in ("*", "variants/*/*"):
            for status in glob_statuses(self.spark, self.path(pattern, "_delta_log")):
                yield str(status.getPath().getParent().toString())

    def has(self, table: Table) -> bool:
        """Whether the table has a commit. If its first commit was interrupted, it has a log without a commit."""
        return self._stored(table).exists()

    def version(self, table: Table) -> int:
        """The newest Delta version of a table. Raises NoSuchDay if the table does not exist."""
        with open_table(self._stored(table)) as log:
            if log is None or not log.commits:
                raise NoSuchDay(f"there is no table {table.name} in {self.table_path(table)}")
            history = DeltaTable.forPath(self.spark, self.table_path(table)).history(1)
            return int(history.select("version").first()[0])  # type: ignore[index]

    def read(self, table: Table, *, version: int | None = None) -> DataFrame:
        """A whole table with its declared columns; an empty frame if it was never written.

        Raises SchemaMismatch if the stored columns differ from the declared ones.
        """
        stored = self._stored(table)
        if not stored.exists():
            return self.spark.createDataFrame([], table.schema)
        reader = self.spark.read.format("delta")
        with delta_errors(stored) if version is None else open_table(stored, version):
            rows = (reader if version is None else reader.option("versionAsOf", version)).load(stored.path)
        check_schema(table, rows.schema)
        return rows.select(table.columns)

    def window(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> DataFrame:
        """The rows of `days` days, the latest of which is `last`."""
        first = last - dt.timedelta(days=days - 1)
        return self.read(table, version=version).where(F.col("ds").between(F.lit(first), F.lit(last)))

    def day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        """The rows of the day `ds`; may be empty."""
        return self.window(table, ds, 1, version=version)

    def required_day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        """Like `day`, but raises NoSuchDay if there are no rows."""
        rows = self.day(table, ds, version=version)
        if rows.isEmpty():
            raise NoSuchDay(f"table {table.name} has no row for {ds} in {self.table_path(table)}")
        return rows

    def latest_before(self, table: Table, ds: dt.date, days: int) -> DataFrame:
        """The rows of `latest_day_before`; an empty frame if there is no such day."""
        last = self.latest_day_before(table, ds, days)
        return self.day(table, last) if last else self.read(table).limit(0)

    def latest_day_before(self, table: Table, ds: dt.date, days: int) -> dt.date | None:
        """The latest of the `days` days before `ds` that has rows; None if none has."""
        yesterday = ds - dt.timedelta(days=1)
        if not self.day(table, yesterday).isEmpty():
            return yesterday
        return self.window(table, yesterday, days).agg(F.max("ds")).first()[0]  # type: ignore[index]

    def pinned(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> PinnedFiles:
        """The files and the row count of `days` days of a version (default: the newest), for readers without Spark.

        Raises NoSuchDay if there are no rows, ValueError if the table uses Delta features that plain Parquet
        readers ignore.
        """
        path = self.table_path(table)
        if not self.has(table):
            raise NoSuchDay(f"there is no table {table.name} in {path}")
        features = DeltaTable.forPath(self.spark, path).detail().first()["tableFeatures"]  # type: ignore[index]
        if unsafe := {"deletionVectors", "columnMapping"}.intersection(features):
            raise ValueError(
                f"table {table.name} in {path} must not use {sorted(unsafe)}: "
                "readers of plain Parquet files would see other rows"
            )
        version = self.version(table) if version is None else version
        first = last - dt.timedelta(days=days - 1)
        rows = self.window(table, last, days, version=version)
        count = rows.count()
        if count == 0:
            raise NoSuchDay(f"table {table.name} has no row from {first} to {last} in {path}")
        return PinnedFiles(version, tuple(sorted(rows.inputFiles())), count)

    def overwrite(self, table: Table, ds: dt.date, rows: DataFrame) -> int:
        """Replace the table's day `ds` by `rows` in one commit; returns the number of rows written.

        Raises SchemaMismatch, before anything is written, if names or types of columns differ.
        """
        return self.overwrite_where(table, rows.withColumn("ds", F.lit(ds)), f"ds = DATE'{ds.isoformat()}'")

    def overwrite_days(self, table: Table, days: Sequence[dt.date], rows: DataFrame) -> int:
        """Replace `days` by `rows`, which must not contain other days, in one commit."""
        listed = ", ".join(f"DATE'{day.isoformat()}'" for day in days)
        return self.overwrite_where(table, rows, f"ds in ({listed})")

    def append(self, table: Table, rows: DataFrame) -> int:
        """Add `rows` in one commit."""
        return writing.commit(self._stored(table), table, rows, None)

    def overwrite_where(self, table: Table, rows: DataFrame, predicate: str) -> int:
        """Replace the rows that fulfil the SQL `predicate`, which must not contain user input, by `rows`."""
        return writing.commit(self._stored(table), table, rows, predicate)

    def insert(self, table: Table, rows: DataFrame, key: Sequence[str] = ()) -> int:
        """Add `rows` in one commit; raises KeyConflict if the table has a row with one of their keys.

        `key` names the columns that must be unique (default: the table's key).
        """
        return writing.insert(self._stored(table), table, rows, key or table.key)

    def _stored(self, table: Table) -> StoredTable:
        variant = self.variant if table.per_variant else None
        return StoredTable(self.spark, self.uri, table.name, self.table_path(table), variant)
