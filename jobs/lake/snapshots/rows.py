"""Reads the rows of a snapshot from its Parquet files by pyarrow: of small tables, or a sample of a large one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Row
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType

from jobs.lake.snapshots.arrow_types import in_type
from jobs.lake.snapshots.snapshot import Snapshot, Where
from jobs.lake.snapshots.urls import file_url
from model.data.file_systems import open_file

BATCH_ROWS = 10_000  # rows of a batch of `read_batches`
SAMPLED_FILES = 64  # files that are opened for a sample


def read_rows(snapshot: Snapshot, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The columns (default: all) of a snapshot's rows; times are in UTC.

    A column that a file lacks is null in its rows, and so is a field that the structs of its lists lack. Raises
    ValueError if the table uses Delta features that readers of plain Parquet files ignore.
    """
    schema = _schema_of(snapshot, columns)
    parts = [schema.empty_table()]
    for file, value in _open_files(snapshot):
        parts.append(_in_schema(file.read(columns=_stored(file, schema)), schema, snapshot.partition, value))
    return _frame(pa.concat_tables(parts))


def read_batches(
    snapshot: Snapshot, columns: Sequence[str], max_rows: int | None = None, where: Where | None = None
) -> Iterator[pl.DataFrame]:
    """Batches of a snapshot's rows: all of them, or about `max_rows` of a larger one if that is given.

    A sample has row groups that are evenly spread over evenly spread files; of a large row group only the first rows.
    where: only rows with these values of a column of `columns`; of row groups without one, at most that column is read.
    Columns, types and errors are those of `read_rows`.
    """
    schema = _schema_of(snapshot, columns)
    share = 1.0
    if max_rows is not None and snapshot.rows > max_rows:
        listed = snapshot.files.sort("path").with_row_index()
        # many small files: as many as have the rows; few large ones: a part of each of some
        wanted = max(SAMPLED_FILES, math.ceil(listed.height * max_rows / snapshot.rows))
        chosen = _spread(listed.height, wanted)
        snapshot = replace(snapshot, files=listed.filter(pl.col("index").is_in(chosen)).drop("index"))
        share = min(max_rows / max(snapshot.rows, 1), 1.0)
    for file, value in _open_files(snapshot):
        groups = _spread(file.num_row_groups, math.ceil(file.num_row_groups * share))
        left = math.ceil(file.metadata.num_rows * share)
        if where is not None:
            groups = [number for number in groups if _has_any(file, number, where)]
        for batch in file.iter_batches(BATCH_ROWS, groups, _stored(file, schema)) if left and groups else ():
            rows = pa.Table.from_batches([batch.slice(0, left)])
            if where is not None:
                rows = rows.filter(pc.is_in(rows[where[0]], value_set=pa.array(where[1], pa.string())))
            yield _frame(_in_schema(rows, schema, snapshot.partition, value))
            left -= batch.num_rows
            if left <= 0:
                break


def _has_any(file: pq.ParquetFile, group: int, where: Where) -> bool:
    """Whether a row group has one of the wanted values: by its statistics if they exclude it, or else by its column."""
    (name, values), footer = where, file.metadata.row_group(group)
    columns = (footer.column(number) for number in range(footer.num_columns))
    stats = next(column.statistics for column in columns if column.path_in_schema == name)
    if stats is not None and stats.has_min_max and not any(stats.min <= value <= stats.max for value in values):
        return False
    stored = file.read_row_group(group, [name])[name]
    return bool(pc.any(pc.is_in(stored, value_set=pa.array(values, pa.string()))).as_py())


def as_rows(frame: pl.DataFrame) -> list[Row]:
    """The rows of a frame as Spark collects them, with times in UTC."""
    return [_as_collected(row) for row in frame.to_dicts()]


def _as_collected(value: Any) -> Any:
    if isinstance(value, dict):
        return Row(**{name: _as_collected(part) for name, part in value.items()})
    return [_as_collected(part) for part in value] if isinstance(value, list) else value


def _spread(count: int, chosen: int) -> list[int]:
    """`chosen` of the numbers below `count`, evenly spread; all of them if `count` is not larger."""
    return list(range(count)) if count <= chosen else [(2 * n + 1) * count // (2 * chosen) for n in range(chosen)]


def _schema_of(snapshot: Snapshot, columns: Sequence[str] | None) -> pa.Schema:
    snapshot.require_plain_files()
    names = snapshot.schema.fieldNames() if columns is None else columns
    return pa.schema([(name, _arrow_type(snapshot.schema[name].dataType)) for name in names])


def _open_files(snapshot: Snapshot) -> Iterator[tuple[pq.ParquetFile, str | None]]:
    """Each file with its value of the partition column."""
    for path, value in snapshot.files.select("path", "value").iter_rows():
        yield _parquet_file(file_url(snapshot.table, path)), value


def _parquet_file(url: str) -> pq.ParquetFile:
    return pq.ParquetFile(open_file(url), coerce_int96_timestamp_unit="us")  # in nanoseconds, later years overflow


def _stored(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """The columns of the schema that a file has."""
    stored = set(file.schema_arrow.names)
    return [name for name in schema.names if name in stored]


def _in_schema(read: pa.Table, schema: pa.Schema, partition: str, value: str | None) -> pa.Table:
    """The rows of a file in the given schema; the partition column, which the file lacks, has the one value `value`."""
    arrays = []
    for field in schema:
        if field.name in read.column_names:
            arrays.append(in_type(_in_utc(read[field.name]), field.type))
        else:
            text = pa.array([value if field.name == partition else None], pa.string()).cast(field.type)
            arrays.append(pa.chunked_array([pa.repeat(text[0], read.num_rows)], field.type))
    return pa.table(arrays, schema=schema)


def _frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)  # a table, not a column
    return frame


def _in_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Spark writes times in UTC, some of them without a zone (INT96)."""
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column


def _arrow_type(kind: DataType) -> pa.DataType:
    return to_arrow_type(kind, timestamp_utc=True)
