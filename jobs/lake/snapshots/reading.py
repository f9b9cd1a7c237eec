"""Reads a version of a table from its log: by delta-rs, or by Spark where delta-rs cannot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from jobs.lake.snapshots.snapshot import FILE_COLUMNS, UNSAFE_FEATURES, Snapshot
from jobs.lake.snapshots.urls import file_url, is_decoded_by_delta_rs, local_path
from model.data.file_systems import open_file

PHYSICAL_NAME = "delta.columnMapping.physicalName"  # of a mapped column in files and in their statistics


def read_snapshot(table: str, version: int, partition: str) -> Snapshot:
    """A version of the Delta table at a path or URI, read by delta-rs. partition: its partition column.

    Raises deltalake's DeltaError for a log that is damaged or uses what delta-rs does not support.
    """
    delta = open_delta_table(table, version)
    schema = StructType.fromJson(json.loads(delta.schema().to_json()))
    actions, stored_ds = pl.DataFrame(delta.get_add_actions(flatten=True)), _physical_name(schema, "ds")
    files = actions.select(
        "path",
        value=_first_known(actions, f"partition.{partition}"),
        rows=_first_known(actions, "num_records", kind=pl.Int64),
        modified="modification_time",
        bytes="size_bytes",
        first_ds=_first_known(actions, "partition.ds", f"min.{stored_ds}"),
        last_ds=_first_known(actions, "partition.ds", f"max.{stored_ds}"),
    )
    metadata = delta.metadata()
    features = _unsafe_features(delta.protocol().reader_features or (), metadata.configuration)
    partitioned_by = tuple(metadata.partition_columns)
    snapshot = Snapshot(table, version, _logical(schema), partition, files, partitioned_by, features)
    if uncounted := _uncounted(snapshot):
        snapshot = _counted(snapshot, {path: _footer_rows(file_url(table, path)) for path in uncounted})
    if "deletionVectors" not in features:
        return snapshot
    masks = pl.DataFrame(delta.deletion_vectors())  # of the files that have one; true: a row is not deleted
    deleted = dict(masks.select("filepath", pl.col("selection_vector").list.eval(~pl.element()).list.sum()).rows())
    return _without(snapshot, _by_path(snapshot, deleted))


def operations_after(table: str, version: int) -> set[str]:
    """The operations of a table's commits after a version, such as MERGE, read by delta-rs."""
    return {str(commit.get("operation")) for commit in open_delta_table(table).history() if commit["version"] > version}


def open_delta_table(table: str, version: int | None = None) -> DeltaTable:
    """A version of the Delta table at a path or URI, by default the newest.

    Raises ValueError for a path at which delta-rs would open another folder, and TableNotFoundError.
    """
    if is_decoded_by_delta_rs(table):
        raise ValueError(
            f"the path of a table must have no '%' before two hex digits and no '\\' without Spark, got {table}"
        )
    return DeltaTable(str(local_path(table) or table), version=version)


def read_snapshot_by_spark(spark: SparkSession, table: str, version: int, partition: str) -> Snapshot:
    """Like `read_snapshot`, for stores and tables that only Spark can read."""
    frame = spark.read.format("delta").option("versionAsOf", version).load(table)
    relation: Any = frame._jdf.queryExecution().analyzed().collectLeaves().head().relation()
    log = relation.location().getSnapshot()
    metadata = log.metadata()
    schema = StructType.fromJson(json.loads(metadata.schemaString()))
    stored_ds, values = _physical_name(schema, "ds"), F.col("partitionValues")
    days = (
        F.coalesce(values[stored_ds], F.get_json_object("stats", f"$.{end}Values.{stored_ds}"))
        for end in ("min", "max")
    )
    actions = DataFrame(log.allFiles().toDF(), spark).select(
        "path",
        values[_physical_name(schema, partition)],
        F.get_json_object("stats", "$.numRecords").cast("long"),
        "modificationTime",
        "size",
        *days,
        F.coalesce("deletionVector.cardinality", F.lit(0)),
    )
    kinds = FILE_COLUMNS | {"deleted": pl.Int64}
    described = pl.DataFrame(actions.toDF(*kinds).toArrow()).cast(kinds)  # type: ignore[arg-type]
    settings = {"delta.columnMapping.mode": str(metadata.columnMappingMode().name())}
    features = _unsafe_features(_strings(log.protocol().readerFeatureNames().toSeq()), settings)
    partitioned_by = _strings(metadata.partitionColumns())
    snapshot = Snapshot(
        table, version, _logical(schema), partition, described.drop("deleted"), partitioned_by, features
    )
    if uncounted := _uncounted(snapshot):
        stored = spark.read.parquet(*(f"{table}/{unquote(path)}" for path in uncounted))
        counts: dict[str, int] = dict(stored.groupBy("_metadata.file_path").count().collect())
        snapshot = _counted(snapshot, dict.fromkeys(uncounted, 0) | _by_path(snapshot, counts))
    deleted = described.filter(pl.col("deleted") > 0)
    return _without(snapshot, dict(deleted.select("path", "deleted").rows()))


def _first_known(actions: pl.DataFrame, *names: str, kind: Any = pl.String) -> pl.Expr:
    """The first of the named columns that exists, cast to `kind`; null if none exists."""
    known = [name for name in names if name in actions.columns]
    return (pl.col(known[0]) if known else pl.lit(None)).cast(kind)


def _physical_name(schema: StructType, name: str) -> str:
    """The name of a column in files and in their statistics."""
    found = {field.name: field.metadata.get(PHYSICAL_NAME, name) for field in schema}
    return str(found.get(name, name))


def _logical(schema: StructType) -> StructType:
    """The schema without metadata of its columns, such as their physical names."""
    return StructType([StructField(field.name, field.dataType, field.nullable) for field in schema])


def _unsafe_features(reader_features: Iterable[str], settings: Mapping[str, str]) -> frozenset[str]:
    mapped = settings.get("delta.columnMapping.mode", "none") != "none"
    return UNSAFE_FEATURES.intersection([*reader_features, *(["columnMapping"] if mapped else [])])


def _strings(strings: Any) -> tuple[str, ...]:
    """A Scala sequence of strings, which must not contain line breaks, as a tuple."""
    return tuple(str(strings.mkString("\n")).splitlines())


def _uncounted(snapshot: Snapshot) -> list[str]:
    """The paths of files whose writer recorded no statistics."""
    return snapshot.files.filter(pl.col("rows").is_null())["path"].to_list()


def _footer_rows(url: str) -> int:
    return int(pq.ParquetFile(open_file(url)).metadata.num_rows)


def _counted(snapshot: Snapshot, counts: Mapping[str, int]) -> Snapshot:
    """The snapshot with the row counts, by path, of files that have none in the log."""
    return replace(snapshot, files=snapshot.files.with_columns(pl.col("rows").fill_null(_of_paths(counts))))


def _without(snapshot: Snapshot, deleted: Mapping[str, int]) -> Snapshot:
    """The snapshot without deleted rows. deleted: their number, by path."""
    if not deleted:
        return snapshot
    return replace(snapshot, files=snapshot.files.with_columns(pl.col("rows") - _of_paths(deleted).fill_null(0)))


def _of_paths(numbers: Mapping[str, int]) -> pl.Expr:
    return pl.col("path").replace_strict(numbers, default=None, return_dtype=pl.Int64)


def _by_path(snapshot: Snapshot, of_uris: Mapping[str, int]) -> dict[str, int]:
    """Numbers by file: `of_uris` has the URI of each file, the result its path in the log."""
    paths = {unquote(path): path for path in snapshot.files["path"]}
    found: dict[str, int] = {}
    for uri, number in of_uris.items():
        parts = unquote(uri).split("/")  # a path in the log is the end of the URI
        endings = ("/".join(parts[start:]) for start in range(len(parts)))
        found |= {paths[ending]: number for ending in endings if ending in paths}
    return found
