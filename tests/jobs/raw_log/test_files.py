"""A value of a file arrives as it was written, or its row or file is refused with a reason."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType

from jobs.lake.tables.table import BOOLEAN, DATE, DOUBLE, FLOATS, INT, STRING, STRINGS, TIME, struct
from jobs.raw_log.contract import parse, require_columns, required_columns
from jobs.raw_log.files import read_file

DAY = dt.date(2026, 1, 5)
PAIRS = struct(ds=DATE, user_id=STRING, item_id=STRING)
ITEMS = struct(ds=DATE, item_id=STRING, available=BOOLEAN, published_at=TIME, year=DOUBLE, genres=STRINGS, vector=FLOATS)


def read(spark: SparkSession, path: Path, schema: Any = PAIRS, table: str = "clicks", **options: Any) -> tuple[list[tuple], dict[str, int]]:
    """The accepted rows without their day, and the number of refused rows by reason."""
    rows = read_file(spark, str(path), options.pop("file_format", None), required=required_columns(schema), **options)
    require_columns(rows, schema, str(path), "drop")
    with parse(rows, schema, table, str(path), DAY).read() as parsed:
        accepted = [tuple(row)[1:] for row in parsed.accepted.collect()]
        assert parsed.refused.count() == sum(parsed.refusals().values())
    return sorted(accepted, key=str), parsed.refusals()


def write(folder: Path, **files: str | bytes) -> Path:
    """Files of these contents in a new folder; `__` in a name stands for a dot, `___` for a slash."""
    for name, content in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
