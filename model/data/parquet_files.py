"""Reads whole Parquet files into Arrow tables, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.file_systems import open_file


def read_files(urls: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of the files as one table. Raises as `read_file`."""
    return pa.concat_tables([read_file(url, columns) for url in urls])


def read_file(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file, with these columns or with all. Raises ValueError if the file lacks one of them."""
    file = pq.ParquetFile(open_file(url))
    if missing := set(columns or ()).difference(file.schema_arrow.names):
        raise ValueError(f"{url} lacks the columns {sorted(missing)}")
    return file.read(columns=columns)
