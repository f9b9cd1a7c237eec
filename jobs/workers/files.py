"""Parquet files that are written into a table's folder on a local or mounted disk.

They have the types, names and compression of Spark's files, and Hadoop's checksums beside them, which Spark verifies
when it reads from such a disk. (The locked version of pyarrow writes no checksums into the pages.)
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import TaskContext

from jobs.workers.batches import Batches, MapBatches

CHECKSUM_MAGIC = b"crc\x00"
BYTES_PER_CHECKSUM = 4_096
HAS_RANGE = (pa.types.is_integer, pa.types.is_string, pa.types.is_date, pa.types.is_timestamp)


@dataclass(frozen=True)
class FileLayout:
    """The columns of a file, the rows of its row groups (the last one has the rest), and the compression."""

    schema: pa.Schema
    row_group_rows: int
    compression: str


@dataclass(frozen=True)
class WrittenFile:
    """A file that a worker has written, and no version of the table names yet.

    path: relative to the table's folder. modified: epoch milliseconds. statistics: Delta's, as JSON.
    """

    path: str
    bytes: int
    modified: int
    rows: int
    statistics: str


def file_writer(make: MapBatches, folder: Path, layout: FileLayout) -> MapBatches:
    """A function that writes what `make` makes into a file in `folder`, and gives a row for the file."""

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        file = write_file(make(batches), folder, task.partitionId() if task else 0, layout)
        if file is not None:
            yield pa.RecordBatch.from_pylist([asdict(file)])

    return write


def write_file(batches: Batches, folder: Path, task: int, layout: FileLayout) -> WrittenFile | None:
    """Write all rows into a file; None, and no file, if there are none.

    folder: of the partition, in that of the table. task: a number that becomes part of the name.

    The name is unique, so a task that runs twice makes two files, of which the result of one is used. After an error
    nothing of the file is left, so that the task can run again on a disk that is nearly full.
    """
    groups = in_row_groups(batches, layout)
    if (first := next(groups, None)) is None:
        return None
    file = folder / f"part-{task:05d}-{uuid.uuid4()}-c000.{layout.compression}.parquet"
    statistics = Statistics(layout.schema)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _writer(file, layout) as writer:
            for rows in chain([first], groups):
                writer.write_table(rows, row_group_size=layout.row_group_rows)
                statistics.add(rows)
        write_checksums(file)
    except BaseException:
        file.unlink(missing_ok=True)
        checksums_of(file).unlink(missing_ok=True)
        raise
    path, stored = f"{folder.name}/{file.name}", file.stat()
    return WrittenFile(path, stored.st_size, stored.st_mtime_ns // 1_000_000, statistics.rows, statistics.json())


def in_row_groups(batches: Batches, layout: FileLayout) -> Iterator[pa.Table]:
    """The rows of the batches in tables of a multiple of `row_group_rows` rows; the last one has the rest."""
    waiting = layout.schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(layout.schema)])
        whole = waiting.num_rows - waiting.num_rows % layout.row_group_rows
        if whole:
            yield waiting.slice(0, whole)
            waiting = waiting.slice(whole)
    if waiting.num_rows:
        yield waiting


class Statistics:
    """Delta's statistics of a file: its rows, the nulls of each column, and the range of those that queries filter by.

    Times are cut to milliseconds, as Delta has them. A column without values has no range.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.rows, self.nulls = 0, dict.fromkeys(schema.names, 0)
        self.ranged = [field.name for field in schema if any(has_range(field.type) for has_range in HAS_RANGE)]
        self.min: dict[str, Any] = {}
        self.max: dict[str, Any] = {}

    def add(self, rows: pa.Table) -> None:
        self.rows += rows.num_rows
        for name in self.nulls:
            self.nulls[name] += rows[name].null_count
        for name in self.ranged:
            ends = pc.min_max(rows[name]).as_py()
            if ends["min"] is not None:
                self.min[name] = min(self.min.get(name, ends["min"]), ends["min"])
                self.max[name] = max(self.max.get(name, ends["max"]), ends["max"])

    def json(self) -> str:
        ends = {"minValues": self.min, "maxValues": self.max}
        return json.dumps({"numRecords": self.rows, **ends, "nullCount": self.nulls}, default=statistic_text)


def statistic_text(value: dt.date) -> str:
    """A day or time as in Delta's statistics: times in UTC to the millisecond."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat()


def checksums_of(file: Path) -> Path:
    """Where Hadoop looks for the checksums of a file."""
    return file.with_name(f".{file.name}.crc")


def write_checksums(file: Path) -> None:
    """Write the checksums of a file as Hadoop's LocalFileSystem does: a header, then a CRC-32 of each block."""
    sums = bytearray(CHECKSUM_MAGIC + BYTES_PER_CHECKSUM.to_bytes(4, "big"))
    with file.open("rb") as content:
        while block := content.read(BYTES_PER_CHECKSUM):
            sums += zlib.crc32(block).to_bytes(4, "big")
    checksums_of(file).write_bytes(sums)


def _writer(file: Path, layout: FileLayout) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        layout.schema,
        compression=layout.compression,
        use_dictionary=list(_leaves("", layout.schema, lambda kind: not pa.types.is_floating(kind))),
        use_deprecated_int96_timestamps=True,
        store_schema=False,
    )


def _leaves(prefix: str, fields: Iterable[pa.Field], wanted: Callable[[pa.DataType], bool]) -> Iterator[str]:
    """The Parquet paths of the columns of wanted types, also those inside structs and lists."""
    for field in fields:
        path = f"{prefix}{field.name}"
        if pa.types.is_struct(field.type):
            yield from _leaves(f"{path}.", field.type, wanted)
        elif pa.types.is_list(field.type):
            yield from _leaves(f"{path}.list.", [field.type.value_field.with_name("element")], wanted)
        elif wanted(field.type):
            yield path
