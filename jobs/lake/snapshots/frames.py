"""Reads the rows of a snapshot with Spark: few local files by their names, all others through Delta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StructField, StructType

from jobs.lake.session.settings import LISTED_FILES
from jobs.lake.snapshots.snapshot import Snapshot, Where
from jobs.lake.snapshots.urls import is_local

GLOB_CHARACTERS = frozenset("*?[]{}")  # Spark would expand them in the name of a file


def spark_frame(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot's files; all rows of its version unless `can_list_files`.

    So a caller that needs only some days must filter them.
    """
    return read_listed_files(spark, snapshot) if can_list_files(snapshot) else read_version(spark, snapshot)


def can_list_files(snapshot: Snapshot) -> bool:
    """Whether Spark should read the files by their names, from which it takes the value of the partition column.

    That saves the Spark job with which Delta finds the files of a table, for each table of each query. In an object
    store it would cost a request per file; for many files Delta's index is faster.
    """
    is_plain = is_local(snapshot.table) and can_read_by_name(snapshot.table) and not snapshot.unsafe_features
    in_folders = snapshot.files["path"].str.starts_with(f"{snapshot.partition}=").all()
    return is_plain and in_folders and len(snapshot.files) <= LISTED_FILES


def can_read_by_name(table: str) -> bool:
    """Whether Spark reads the files of a table, given by its path or URI, by exactly their names."""
    return not GLOB_CHARACTERS & set(table)


def read_files(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot's files, in any store; rows of other files as well if the files cannot be read by name.

    So a caller that needs only these files must filter by `_metadata.file_name`. For rows that are read in parts: each
    part opens its own files only.
    """
    is_plain = can_read_by_name(snapshot.table) and not snapshot.unsafe_features
    in_folders = snapshot.files["path"].str.starts_with(f"{snapshot.partition}=").all()
    return read_listed_files(spark, snapshot) if is_plain and in_folders else read_version(spark, snapshot)


def read_listed_files(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot's files."""
    reader = spark.read.schema(snapshot.schema).option("basePath", snapshot.table)
    return reader.parquet(*(unquote(url) for url in snapshot.urls))


def read_version(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """All rows of the snapshot's version of the table, read through Delta, whichever files the snapshot has.

    Columns of the snapshot's schema that the table lacks are null, and so are fields of the structs in its arrays.
    """
    rows = spark.read.format("delta").option("versionAsOf", snapshot.version).load(snapshot.table)
    lacking = {
        field.name: F.lit(None).cast(field.dataType) for field in snapshot.schema if field.name not in rows.columns
    }
    for field in snapshot.schema:
        if field.name not in lacking and (nested := _lacking_fields(rows.schema[field.name].dataType, field.dataType)):
            lacking[field.name] = F.transform(field.name, _adding_nulls(nested))
    return rows.withColumns(lacking) if lacking else rows


def _lacking_fields(stored: DataType, wanted: DataType) -> list[StructField]:
    """The fields that the structs of an array lack; none if the types are no arrays of structs."""
    found, full = (kind.elementType if isinstance(kind, ArrayType) else None for kind in (stored, wanted))
    if not isinstance(found, StructType) or not isinstance(full, StructType):
        return []
    return [field for field in full if field.name not in found.fieldNames()]


def _adding_nulls(fields: Sequence[StructField]) -> Callable[[Column], Column]:
    """A function that adds fields of nulls to a struct."""

    def with_nulls(struct: Column) -> Column:
        for field in fields:
            struct = struct.withField(field.name, F.lit(None).cast(field.dataType))
        return struct

    return with_nulls


def sampled(rows: DataFrame, count: int, max_rows: int | None, where: Where | None = None) -> DataFrame:
    """`rows`, or a random sample of about `max_rows` of them if there are more; of these, those that fulfil `where`.

    count: how many rows there are.
    """
    if max_rows is not None and count > max_rows:
        rows = rows.sample(max_rows / count, seed=0)
    return rows if where is None else rows.where(F.col(where[0]).isin([*where[1]]))
