"""Reads Parquet files into Arrow tables, whole or batch by batch, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.file_systems import open_file

ROWS_AT_ONCE = 16_384  # of a batch: 4 MB of vectors with 64 dimensions


def read_files(urls: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of the files as one table. Raises as `read_file`."""
    return pa.concat_tables([read_file(url, columns) for url in urls])


def read_file(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file, with these columns or with all. Raises ValueError if the file lacks one of them."""
    return _opened(url, columns or ()).read(columns=columns)


def batches_of(
    urls: Sequence[str], columns: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """The rows of the files, a batch at a time, with these columns. Raises as `read_file`."""
    for url in urls:
        yield from _opened(url, columns).iter_batches(rows_at_once, columns=list(columns))


def _opened(url: str, columns: Sequence[str]) -> pq.ParquetFile:
    file = pq.ParquetFile(open_file(url))
    if missing := {*columns}.difference(file.schema_arrow.names):
        raise ValueError(f"{url} lacks the columns {sorted(missing)}")
    return file
