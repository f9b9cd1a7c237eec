"""Reads log files in three formats (Parquet, CSV and JSON lines), with the columns that the files have.

CSV and JSON values are read as text, so that a value of the wrong type costs one row and not the whole file. A row that
cannot be parsed at all is stored in the column CORRUPT_ROW.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.raw_log.files.names import CORRUPT_ROW

FORMATS = ("parquet", "csv", "jsonl")
ENDINGS = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "json": "jsonl", "ndjson": "jsonl"}


def read_file(spark: SparkSession, path: str, file_format: str | None) -> DataFrame:
    """The rows of a file or folder. If `file_format` is None, the ending of its name determines the format.

    Raises ValueError if it cannot be read or has no columns.
    """
    file_format = file_format or format_of(path)
    reader = spark.read.option("columnNameOfCorruptRecord", CORRUPT_ROW)
    with file_errors(f"{path} cannot be read as {file_format}"):
        if file_format == "parquet":
            rows = reader.parquet(path)
        elif file_format == "csv":
            header = reader.option("header", True).csv(path).schema
            schema = header.add(CORRUPT_ROW, "string") if header.fields else header
            rows = reader.option("header", True).csv(path, schema)
        else:
            rows = reader.option("primitivesAsString", True).json(path)
    if not rows.columns:
        raise ValueError(f"{path}: the file has no row")
    if rows.columns == [CORRUPT_ROW]:
        raise ValueError(f"{path} has no {file_format} rows")
    return rows


def format_of(path: str) -> str:
    """The format of a file, by the ending of its name. Raises ValueError for an unknown ending."""
    ending = path.rstrip("/").rsplit(".", 1)[-1].lower()
    if ending not in ENDINGS:
        raise ValueError(f"--format must be given if a file name ends in none of {', '.join(ENDINGS)}, got {path}")
    return ENDINGS[ending]


@contextmanager
def file_errors(message: str) -> Iterator[None]:
    """Turn Spark's exceptions on a file that it cannot read into a ValueError of one line."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise ValueError(f"{message}: {_first_line(error)}") from error


def _first_line(error: PySparkException | Py4JJavaError) -> str:
    text = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0][:300]
