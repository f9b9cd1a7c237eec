"""Opens a part of the log: files, the folder of a Delta table, or a table that Spark reads by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from jobs.raw_log.files.delta_folders import is_delta_table
from jobs.raw_log.files.errors import file_errors
from jobs.raw_log.files.listing import FORMATS
from jobs.raw_log.files.reading import read_file

TABLE = "table:"  # prefix of the name of a table: table:catalog.database.name
SOURCE_FORMATS = (*FORMATS, "delta", "table")


@dataclass(frozen=True)
class Source:
    """Rows of the log, and where they are from: the path or name, with the version of a Delta table."""

    rows: DataFrame
    name: str


def open_source(
    spark: SparkSession,
    path: str,
    file_format: str | None,
    *,
    required: Collection[str] = (),
    encoding: str | None = None,
    separator: str = ",",
) -> Source:
    """The rows of a file, folder or table; a Delta table is read at its present version.

    required, encoding, separator: as in `read_file`.
    file_format: one of SOURCE_FORMATS; None: a folder with `_delta_log` is a Delta table, the prefix `table:` names a
    table, and the ending of any other name determines its format. Raises ValueError if it cannot be read.
    """
    if path.startswith(TABLE) or file_format == "table":
        return _table(spark, path.removeprefix(TABLE))
    is_delta = is_delta_table(spark, path)
    if is_delta != (file_format == "delta") and file_format is not None:
        fault = "is the folder of a Delta table, whose format is delta" if is_delta else "has no folder _delta_log"
        raise ValueError(f"{path} {fault}, got --format {file_format}")
    if is_delta:
        return _delta(spark, path)
    rows = read_file(spark, path, file_format, required=required, encoding=encoding, separator=separator)
    return Source(rows, path)


def _delta(spark: SparkSession, path: str) -> Source:
    with file_errors(f"{path} cannot be read as a Delta table"):
        version = _version(DeltaTable.forPath(spark, path))
        rows = spark.read.format("delta").option("versionAsOf", version).load(path)
    return Source(rows, f"{path} version {version}")


def _table(spark: SparkSession, name: str) -> Source:
    with file_errors(f"the table {name} cannot be read"):
        try:
            version = _version(DeltaTable.forName(spark, name))
        except AnalysisException:  # a view, or a table of another kind
            return Source(spark.table(name), TABLE + name)
        rows = spark.read.option("versionAsOf", version).table(name)
    return Source(rows, f"{TABLE}{name} version {version}")


def _version(table: DeltaTable) -> int:
    newest = table.history(1).select("version").first()
    assert newest is not None
    return int(newest.version)
