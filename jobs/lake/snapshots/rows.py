"""Reads the rows of a snapshot from its Parquet files by pyarrow: for small tables, without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Row
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType

from jobs.lake.snapshots.snapshot import Snapshot
from jobs.lake.snapshots.urls import file_url
from model.data.file_systems import open_file


def read_rows(snapshot: Snapshot, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The columns (default: all) of a snapshot's rows; times are in UTC.

    A column that a file lacks is null in its rows. Raises ValueError if the table uses Delta features that readers of
    plain Parquet files ignore.
    """
    snapshot.require_plain_files()
    names = snapshot.schema.fieldNames() if columns is None else list(columns)
    schema = pa.schema([(name, _arrow_type(snapshot.schema[name].dataType)) for name in names])
    parts = [schema.empty_table()]
    for path, value in snapshot.files.select("path", "value").iter_rows():
        parts.append(_read_file(file_url(snapshot.table, path), schema, snapshot.partition, value))
    rows = pl.from_arrow(pa.concat_tables(parts))
    assert isinstance(rows, pl.DataFrame)  # a table, not a column
    return rows


def as_rows(frame: pl.DataFrame) -> list[Row]:
    """The rows of a frame as Spark collects them, with times in UTC."""
    return [_as_collected(row) for row in frame.to_dicts()]


def _as_collected(value: Any) -> Any:
    if isinstance(value, dict):
        return Row(**{name: _as_collected(part) for name, part in value.items()})
    return [_as_collected(part) for part in value] if isinstance(value, list) else value


def _read_file(url: str, schema: pa.Schema, partition: str, value: str | None) -> pa.Table:
    """A file's rows in the given schema; the partition column, which the file lacks, has the one value `value`."""
    file = pq.ParquetFile(open_file(url), coerce_int96_timestamp_unit="us")  # in nanoseconds, later years overflow
    stored = set(file.schema_arrow.names)
    read = file.read(columns=[name for name in schema.names if name in stored])
    arrays = []
    for field in schema:
        if field.name in stored:
            arrays.append(_in_utc(read[field.name]).cast(field.type))
        else:
            text = pa.array([value if field.name == partition else None], pa.string()).cast(field.type)
            arrays.append(pa.chunked_array([pa.repeat(text[0], read.num_rows)], field.type))
    return pa.table(arrays, schema=schema)


def _in_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Spark writes times in UTC, some of them without a zone (INT96)."""
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column


def _arrow_type(kind: DataType) -> pa.DataType:
    return to_arrow_type(kind, timestamp_utc=True)
