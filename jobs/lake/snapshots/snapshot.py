"""One version of a table as its log describes it: columns, files, and the number of rows in each partition.

A job opens each table once, and all its reads are of that version. Whether a day has rows, how many, and in which files
is answered from the log; no query runs for it.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake.snapshots.urls import file_url, is_local, local_folder_of
from model.data.file_systems import open_file

UNSAFE_FEATURES = frozenset({"deletionVectors", "columnMapping"})  # readers of plain Parquet files see other rows
ENDS = ("min", "max")
FILE_COLUMNS = {
    "path": pl.String, "value": pl.String, "rows": pl.Int64, "modified": pl.Int64, "first_ds": pl.String,
    "last_ds": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A version of a table, or some partitions of it.

    files: one row per file: path (as in the log), value (of the partition column, as text), rows, modified (epoch ms),
    and the lowest and highest `ds` of its rows, null if the log does not say. unsafe_features: those of UNSAFE_FEATURES
    that the table uses.
    """

    table: str  # path or URI
    version: int
    schema: StructType
    partition: str  # the column
    files: pl.DataFrame
    unsafe_features: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, table: str, schema: StructType, partition: str) -> Snapshot:
        """A table without files."""
        return cls(table, -1, schema, partition, pl.DataFrame(schema=FILE_COLUMNS))

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


def read_snapshot(table: str, version: int, partition: str) -> Snapshot:
    """A version of the Delta table at a path or URI, read by delta-rs. partition: its partition column."""
    delta = DeltaTable(str(local_folder_of(table)) if is_local(table) else table, version=version)
    protocol, settings = delta.protocol(), delta.metadata().configuration
    features = UNSAFE_FEATURES.intersection(protocol.reader_features or ())
    if settings.get("delta.columnMapping.mode", "none") != "none":
        features |= {"columnMapping"}
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    if actions.is_empty():
        files = pl.DataFrame(schema=FILE_COLUMNS)
    else:
        known = {*actions.columns}
        first, last = (next((name for name in (f"{end}.ds", "partition.ds") if name in known), None) for end in ENDS)
        files = actions.select(
            "path",
            value=(pl.col(column) if (column := f"partition.{partition}") in known else pl.lit(None)).cast(pl.String),
            rows=pl.col("num_records") if "num_records" in known else pl.lit(None, pl.Int64),
            modified="modification_time",
            first_ds=(pl.col(first) if first else pl.lit(None)).cast(pl.String),
            last_ds=(pl.col(last) if last else pl.lit(None)).cast(pl.String),
        )
    schema = StructType.fromJson(json.loads(delta.schema().to_json()))
    return _counted(Snapshot(table, version, schema, partition, files, features))


def read_snapshot_by_spark(spark: SparkSession, table: str, version: int, partition: str) -> Snapshot:
    """Like `read_snapshot`, for stores that only Spark can read."""
    frame = spark.read.format("delta").option("versionAsOf", version).load(table)
    relation: Any = frame._jdf.queryExecution().analyzed().collectLeaves().head().relation()
    log = relation.location().getSnapshot()
    actions = DataFrame(log.allFiles().toDF(), spark).select(
        "path",
        F.col("partitionValues")[partition].alias("value"),
        F.get_json_object("stats", "$.numRecords").cast("long").alias("rows"),
        F.col("modificationTime").alias("modified"),
        *(
            F.coalesce(F.get_json_object("stats", f"$.{name}Values.ds"), F.col("partitionValues")["ds"])
            for name in ENDS
        ),
    )
    files = pl.DataFrame(actions.toDF(*FILE_COLUMNS).toArrow()).cast(FILE_COLUMNS)  # type: ignore[arg-type]
    protocol = log.protocol().readerFeatureNames().mkString(",").split(",")
    mapped = str(log.metadata().columnMappingMode().name()) != "none"
    features = UNSAFE_FEATURES.intersection([*protocol, *(["columnMapping"] if mapped else [])])
    return _counted(Snapshot(table, version, frame.schema, partition, files, features))


def _counted(snapshot: Snapshot) -> Snapshot:
    """The snapshot with the rows of files whose writer recorded no statistics, read from their footers."""
    files = snapshot.files
    unknown = files.filter(pl.col("rows").is_null())["path"]
    if unknown.is_empty():
        return snapshot
    counts = {path: pq.ParquetFile(open_file(file_url(snapshot.table, path))).metadata.num_rows for path in unknown}
    known = pl.col("rows").fill_null(pl.col("path").replace_strict(counts, default=None, return_dtype=pl.Int64))
    return replace(snapshot, files=files.with_columns(known))
