"""Reads the rows of a snapshot with Spark: few local files by their names, all others through Delta."""

from __future__ import annotations

from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.session.settings import LISTED_FILES
from jobs.lake.snapshots.snapshot import Snapshot
from jobs.lake.snapshots.urls import is_local

GLOB = frozenset("*?[]{}")  # Spark would expand them in the name of a file


def can_list_files(snapshot: Snapshot) -> bool:
    """Whether Spark may read the files by their names, of which it takes the value of the partition column.

    That saves the Spark job with which Delta finds the files of a table, for each table of each query. A store would be
    asked for each file, and Delta's index is faster for many files.
    """
    is_plain = is_local(snapshot.table) and not GLOB & set(snapshot.table) and not snapshot.unsafe_features
    in_folders = snapshot.files["path"].str.starts_with(f"{snapshot.partition}=").all()
    return is_plain and in_folders and len(snapshot.files) <= LISTED_FILES


def read_listed_files(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot's files."""
    reader = spark.read.schema(snapshot.schema).option("basePath", snapshot.table)
    return reader.parquet(*(unquote(url) for url in snapshot.urls))


def read_version(spark: SparkSession, snapshot: Snapshot) -> DataFrame:
    """All rows of the snapshot's version of the table, read through Delta, whichever files the snapshot has."""
    return spark.read.format("delta").option("versionAsOf", snapshot.version).load(snapshot.table)
