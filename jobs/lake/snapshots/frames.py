"""Reads the rows of a snapshot with Spark: few local files by their names, all others through Delta."""

from __future__ import annotations

from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.session.settings import LISTED_FILES
from jobs.lake.snapshots.snapshot import Snapshot
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


def read_listed_files(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot's files."""
    reader = spark.read.schema(snapshot.schema).option("basePath", snapshot.table)
    return reader.parquet(*(unquote(url) for url in snapshot.urls))


def read_version(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """All rows of the snapshot's version of the table, read through Delta, whichever files the snapshot has.

    Columns of the snapshot's schema that the table lacks are null.
    """
    rows = spark.read.format("delta").option("versionAsOf", snapshot.version).load(snapshot.table)
    lacking = [field for field in snapshot.schema if field.name not in rows.columns]
    return rows.withColumns({field.name: F.lit(None).cast(field.dataType) for field in lacking}) if lacking else rows


def sampled(rows: DataFrame, count: int, max_rows: int | None) -> DataFrame:
    """`rows`, or a random sample of about `max_rows` of them if there are more. count: how many rows there are."""
    return rows if max_rows is None or count <= max_rows else rows.sample(max_rows / count, seed=0)
