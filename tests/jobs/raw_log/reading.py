"""Reads a path as a log file, for tests: the rows that are accepted, and why others are refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake.tables.table import BOOLEAN, DATE, DOUBLE, FLOATS, INT, STRING, STRINGS, TIME, struct
from jobs.raw_log.contract import parse, require_columns, required_columns
from jobs.raw_log.files import file_errors
from jobs.raw_log.files.reading import read_file
from jobs.raw_log.landing.parsed_file import ParsedFile

DAY = dt.date(2026, 1, 5)
PAIRS = struct(ds=DATE, user_id=STRING, item_id=STRING)
ITEMS = struct(
    ds=DATE, item_id=STRING, available=BOOLEAN, published_at=TIME, position=INT, year=DOUBLE, genres=STRINGS, vector=FLOATS
)  # fmt: skip


def parsed(spark: SparkSession, path: Path, schema: StructType, table: str, **options: Any) -> ParsedFile:
    file_format = options.pop("file_format", None)
    rows = read_file(spark, str(path), file_format, required=required_columns(schema), **options)
    require_columns(rows, schema, str(path), "drop")
    return parse(rows, schema, table, str(path), DAY)


def read(
    spark: SparkSession, path: Path, schema: StructType = PAIRS, table: str = "clicks", **options: Any
) -> tuple[list[tuple], dict[str, int]]:
    """The accepted rows without their day, sorted, and the number of refused rows by reason."""
    with file_errors("the files cannot be read"), parsed(spark, path, schema, table, **options).read() as file:
        return sorted((tuple(row)[1:] for row in utc(file.accepted).collect()), key=str), file.refusals()


def utc(rows: DataFrame) -> DataFrame:
    """`rows` with times that Python shows in UTC, whatever the time zone of this machine."""
    times = [field.name for field in rows.schema if field.dataType == TIME]
    return rows.withColumns({name: F.col(name).cast("timestamp_ntz") for name in times})


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """A folder with files of these names and contents."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
