"""One day of one table: parse it, read it, overwrite it. The only place that writes Delta."""

from __future__ import annotations

import argparse
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from delta.tables import DeltaTable
from pyspark.errors.exceptions.captured import SparkRuntimeException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake.errors import AGAIN, Taken, WriteConflict, commit_of
from jobs.lake.integrity.detect import opened, used
from jobs.lake.tables import Table


class SchemaMismatch(ValueError):
    """A table's columns are not those that its one home names."""


class NoSuchDay(ValueError):
    """A day was asked for that the table does not hold."""


def day_argument(text: str) -> dt.date:
    """A logical day, YYYY-MM-DD, as an argparse type."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError("wrong shape")
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"wants a day as YYYY-MM-DD, got {text!r}") from error


def day_end(ds: dt.date) -> dt.datetime:
    """The first moment after the logical day, UTC."""
    return dt.datetime.combine(ds + dt.timedelta(days=1), dt.time(), dt.UTC)


@dataclass(frozen=True)
class PinnedWindow:
    """The Parquet files of some days of one version of a table."""

    version: int
    files: tuple[str, ...]  # URIs
    rows: int

    def to_json(self) -> dict[str, object]:
        return {"files": list(self.files), "rows": self.rows}


@dataclass(frozen=True)
class Lake:
    """The folder (any Hadoop URI) under which all tables lie; a variant keeps what its model leaves apart."""

    spark: SparkSession
    uri: str
    variant: str | None = None

    def path(self, *parts: str) -> str:
        return "/".join([self.uri.rstrip("/"), *parts])

    def model_path(self, *parts: str) -> str:
        """Like `path`, for what belongs to the model: a variant's lies under variants/NAME."""
        return self.path(*parts) if self.variant is None else self.path("variants", self.variant, *parts)

    def table_path(self, table: Table) -> str:
        return self.model_path(table.name) if table.per_variant else self.path(table.name)

    def has(self, table: Table) -> bool:
        """Whether it has a commit: a first one that was cut off, or is being made, leaves a log without any."""
        with opened(self, table) as log:
            return log is not None and bool(log.commits)

    def version(self, table: Table) -> int:
        """The newest Delta version of a table. Raises NoSuchDay where there is no table."""
        with opened(self, table) as log:
            if log is None or not log.commits:
                raise NoSuchDay(f"there is no table {table.name} in {self.table_path(table)}")
            history = DeltaTable.forPath(self.spark, self.table_path(table)).history(1)
            return int(history.select("version").first()[0])  # type: ignore[index]

    def read(self, table: Table, *, version: int | None = None) -> DataFrame:
        """A whole table with the columns of its home; an empty frame where it was not yet written.

        Raises SchemaMismatch where the stored columns differ.
        """
        if not self.has(table):
            return self.spark.createDataFrame([], table.schema)
        reader = self.spark.read.format("delta")
        with used(self, table) if version is None else opened(self, table, version):
            stored = (reader if version is None else reader.option("versionAsOf", version)).load(self.table_path(table))
        check_schema(table, stored.schema)
        return stored.select(table.columns)

    def window(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> DataFrame:
        """The rows of `days` days, `last` included."""
        first = last - dt.timedelta(days=days - 1)
        return self.read(table, version=version).where(F.col("ds").between(F.lit(first), F.lit(last)))

    def day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        return self.window(table, ds, 1, version=version)

    def required_day(self, table: Table, ds: dt.date, *, version: int | None = None) -> DataFrame:
        """Like `day`; raises NoSuchDay where it holds no row."""
        rows = self.day(table, ds, version=version)
        if rows.isEmpty():
            raise NoSuchDay(f"table {table.name} has no row for {ds} in {self.table_path(table)}")
        return rows

    def latest_before(self, table: Table, ds: dt.date, days: int) -> DataFrame:
        """The newest day of the `days` before `ds` that the table holds; empty on the first day of all."""
        last = self.latest_day_before(table, ds, days)
        return self.day(table, last) if last else self.read(table).limit(0)

    def latest_day_before(self, table: Table, ds: dt.date, days: int) -> dt.date | None:
        """Which day that is; None where there is none."""
        yesterday = ds - dt.timedelta(days=1)
        if not self.day(table, yesterday).isEmpty():
            return yesterday
        return self.window(table, yesterday, days).agg(F.max("ds")).first()[0]  # type: ignore[index]

    def pinned(self, table: Table, last: dt.date, days: int, *, version: int | None = None) -> PinnedWindow:
        """The files and rows of `days` days of the newest version, or of another, for readers that are not Spark.

        Raises NoSuchDay where there are no rows, and ValueError where the table has features that such readers ignore.
        """
        path = self.table_path(table)
        if not self.has(table):
            raise NoSuchDay(f"there is no table {table.name} in {path}")
        features = DeltaTable.forPath(self.spark, path).detail().first()["tableFeatures"]  # type: ignore[index]
        if unsafe := {"deletionVectors", "columnMapping"}.intersection(features):
            raise ValueError(f"table {table.name} in {path} has {sorted(unsafe)}: its plain files do not tell its rows")
        version = self.version(table) if version is None else version
        first = last - dt.timedelta(days=days - 1)
        rows = self.window(table, last, days, version=version)
        count = rows.count()
        if count == 0:
            raise NoSuchDay(f"table {table.name} has no row from {first} to {last} in {path}")
        return PinnedWindow(version, tuple(sorted(rows.inputFiles())), count)

    def overwrite(self, table: Table, ds: dt.date, rows: DataFrame) -> int:
        """Put `rows` in the place of the table's day `ds`, in one commit; returns how many rows it holds now.

        Raises SchemaMismatch before anything is written where names or types differ.
        """
        return self._commit(table, rows.withColumn("ds", F.lit(ds)), f"ds = DATE'{ds.isoformat()}'")

    def overwrite_days(self, table: Table, days: Sequence[dt.date], rows: DataFrame) -> int:
        """Put `rows`, which hold no other days, in the place of `days`, in one commit."""
        listed = ", ".join(f"DATE'{day.isoformat()}'" for day in days)
        return self._commit(table, rows, f"ds in ({listed})")

    def append(self, table: Table, rows: DataFrame) -> int:
        """Add `rows`, in one commit."""
        return self._commit(table, rows, None)

    def overwrite_where(self, table: Table, rows: DataFrame, predicate: str) -> int:
        """Put `rows` in the place of those that fulfil `predicate`, which never holds user input."""
        return self._commit(table, rows, predicate)

    def insert(self, table: Table, rows: DataFrame, key: Sequence[str] = ()) -> int:
        """Add `rows`, in one commit, where the table holds none with their `key` (default: the table's own).

        Raises Taken where it does, or another writer is putting some there, and adds none: of two, one is told.
        """
        check_schema(table, rows.schema)
        count, path = rows.count(), self.table_path(table)
        same = " and ".join(f"held.{name} = added.{name}" for name in key or table.key)
        try:
            with commit_of(path):
                if not self.has(table):
                    self.append(table, rows.limit(0))
                held = DeltaTable.forPath(self.spark, path).alias("held")
                merge = held.merge(rows.select(table.columns).alias("added"), same).whenNotMatchedInsertAll()
                if count > 1:  # one alone is added or not; of several none may be added without the others
                    merge = merge.whenMatchedUpdate(set={table.columns[-1]: "raise_error('taken')"})
                added = merge.execute().first()
        except WriteConflict as error:
            raise Taken(f"another writer was quicker in {path}; nothing was written: {AGAIN}") from error
        except SparkRuntimeException as error:
            if "USER_RAISED_EXCEPTION" not in str(error):
                raise
            added = None
        if added is None or added["num_inserted_rows"] != count:
            raise Taken(f"{path} holds the key {key or table.key} of a row by now that was to be added")
        return count

    def _commit(self, table: Table, rows: DataFrame, predicate: str | None) -> int:
        check_schema(table, rows.schema)
        path = self.table_path(table)
        if self.has(table):
            check_schema(table, self.spark.read.format("delta").load(path).schema)
        counted = Observation()
        writer = rows.select(table.columns).observe(counted, F.count(F.lit(1)).alias("rows")).write.format("delta")
        writer = writer.partitionBy(table.partition).mode("append")
        if predicate is not None:  # of a new table too: a bare append would not see one that was made meanwhile
            writer = writer.mode("overwrite").option("replaceWhere", predicate)
        with used(self, table), commit_of(path):
            writer.save(path)
        return int(counted.get["rows"])


@contextmanager
def kept(rows: DataFrame) -> Iterator[DataFrame]:
    """`rows` worked out once and kept for as long as the block runs.

    On a cluster rows that an executor loses are worked out again. In one process none can be lost alone: there they
    leave their plan behind, which would be looked through again with each query on them.
    """
    if str(rows.sparkSession.sparkContext.master).startswith("local["):
        rows = rows.localCheckpoint()
        held = rows._jdf.queryExecution().analyzed().rdd()
        release = partial(held.unpersist, False)
    else:
        rows = rows.persist()
        release = partial(rows.unpersist, False)
    try:
        yield rows
    finally:
        release()


def check_schema(table: Table, got: StructType) -> None:
    """Raises SchemaMismatch that lists the missing, unexpected and retyped columns."""
    want = {field.name: field.dataType for field in table.schema}
    have = {field.name: field.dataType for field in got}
    faults = [f"missing {name} {kind.simpleString()}" for name, kind in want.items() if name not in have]
    faults += [f"unexpected {name}" for name in have if name not in want]
    faults += [
        f"{name} is {have[name].simpleString()}, wanted {kind.simpleString()}"
        for name, kind in want.items()
        if name in have and _bare(have[name]) != _bare(kind)
    ]
    if faults:
        raise SchemaMismatch(f"table {table.name}: " + "; ".join(faults))


def _bare(kind: object) -> str:
    return kind.simpleString()  # type: ignore[attr-defined]  # nullability aside
