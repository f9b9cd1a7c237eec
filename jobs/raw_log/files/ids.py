"""Files that people write to name users or items: text, Parquet or JSON lines. No id is trimmed."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType, StringType

from jobs.lake.files import hadoop_path
from jobs.raw_log.files.listing import format_of
from jobs.raw_log.files.names import CORRUPT_ROW
from jobs.raw_log.files.reading import read_file

SHOWN_IDS = 10  # in a message
ID_TYPES = (StringType, ByteType, ShortType, IntegerType, LongType)


def ids_from_file(spark: SparkSession, name: str, column: str, setting: str) -> DataFrame:
    """The distinct ids of a file, as `column`; `setting` names the key or argument for messages.

    A file whose name ends in .parquet, .jsonl, .ndjson or .json has a column `column`. Any other file is UTF-8 text
    with one id per line: a line ends with LF or CR LF, everything before that is the id, and a line of white space is
    ignored. Raises ValueError if the file does not exist, has a name that Spark would skip or expand, or has a row that
    is no id.
    """
    filesystem, path = hadoop_path(spark, name)
    is_table = format_of(str(path.getName())) in ("parquet", "jsonl")
    if not (filesystem.exists(path) if is_table else filesystem.isFile(path)):
        raise ValueError(f"{setting} must be a text file, got {path.toString()}, which does not exist")
    if path.getName().startswith(("_", ".")) or set(path.toString()) & set("*?[]{}"):
        rule = "be a file whose name does not begin with '_' or '.' and whose path contains none of *?[]{}"
        raise ValueError(f"{setting} must {rule}, because Spark would skip or expand it, got {path.toString()}")
    read = _ids_of_column if is_table else _lines
    return read(spark, str(path.toString()), column, setting).distinct()


def some_of(ids: Sequence[str]) -> str:
    """The first ids as text, in which blanks can be seen."""
    return ", ".join([*map(repr, ids[:SHOWN_IDS]), *(["..."] if len(ids) > SHOWN_IDS else [])])


def _lines(spark: SparkSession, path: str, column: str, setting: str) -> DataFrame:
    lines = spark.read.option("lineSep", "\n").text(path)
    if not lines.where(~F.is_valid_utf8("value")).isEmpty():
        raise ValueError(f"{setting} must be UTF-8 text, got a line that is not in {path}")
    ids = lines.select(F.regexp_replace("value", r"\r\z", "").alias(column))
    return ids.where(~F.col(column).rlike(r"^\s*\z"))


def _ids_of_column(spark: SparkSession, path: str, column: str, setting: str) -> DataFrame:
    rows = read_file(spark, path, None)
    if column not in rows.columns:
        columns = [name for name in rows.columns if name != CORRUPT_ROW]
        raise ValueError(f"{setting} must have a column {column}, got the columns {columns} in {path}")
    got = rows.schema[column].dataType
    if not isinstance(got, ID_TYPES):
        raise ValueError(f"{setting} must have a column {column} of type string, got {got.simpleString()} in {path}")
    is_no_id = F.col(column).isNull() | (F.col(column).cast("string") == "")
    if CORRUPT_ROW in rows.columns:
        is_no_id |= F.col(CORRUPT_ROW).isNotNull()
    if not rows.where(is_no_id).isEmpty():
        raise ValueError(f"{setting} must have a {column} in every row, got a row without one in {path}")
    return rows.select(F.col(column).cast("string").alias(column))
