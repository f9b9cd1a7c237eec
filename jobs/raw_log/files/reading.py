"""Reads log files in three formats (Parquet, CSV and JSON lines), with the columns that the files have.

CSV and JSON values are read as text, so that a value of the wrong type costs one row and not the whole file. A row that
cannot be parsed at all is stored in the column CORRUPT_ROW.
"""

from __future__ import annotations

from collections.abc import Collection

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.raw_log.files.csv_files import read_csv
from jobs.raw_log.files.errors import file_errors
from jobs.raw_log.files.json_lines import read_json_lines
from jobs.raw_log.files.lines import NUL, QUOTE, RETURN, TextFormat
from jobs.raw_log.files.listing import common_format, format_of, list_files
from jobs.raw_log.files.parquet_files import read_parquet

UTF_8 = ("utf-8", "utf8")
NO_SEPARATORS = (QUOTE, RETURN, NUL, "\n")


def read_file(
    spark: SparkSession,
    path: str,
    file_format: str | None,
    *,
    required: Collection[str] = (),
    encoding: str | None = None,
    separator: str = ",",
) -> DataFrame:
    """The rows of a file or folder. If `file_format` is None, the ending of its name determines the format.

    Columns are matched by name; one that a file of a folder does not have is null in its rows. required: columns that
    each CSV file must have. encoding: of CSV and JSON lines (default: UTF-8). separator: of the cells of CSV files.
    Raises ValueError if it cannot be read or has no columns.
    """
    encoding = None if encoding is None or encoding.lower() in UTF_8 else encoding
    if encoding is not None and not _is_known(spark, encoding):
        raise ValueError(f"--encoding must be an encoding that Java knows, such as windows-1252, got {encoding}")
    if len(separator) != 1 or separator in NO_SEPARATORS:
        raise ValueError(f"--separator must be one character that is no quote or line end, got {separator!r}")
    named_format = file_format or format_of(path)
    with file_errors(f"{path} cannot be read{f' as {named_format}' if named_format else ''}"):
        listing = list_files(spark, path)
        file_format = named_format or common_format(listing)
        if file_format == "parquet":
            return read_parquet(spark, listing)
        if file_format == "csv":
            return read_csv(spark, listing, required, TextFormat(encoding, separator))
        return read_json_lines(spark, listing, encoding)


def _is_known(spark: SparkSession, encoding: str) -> bool:
    try:
        return bool(spark._jvm.java.nio.charset.Charset.isSupported(encoding))  # type: ignore[union-attr]
    except (PySparkException, Py4JJavaError):  # a text that can be no name, such as "latin 1"
        return False
