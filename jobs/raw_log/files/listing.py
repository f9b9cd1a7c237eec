"""The files of a path: a file, a folder with folders in it, or a pattern; and the columns in the names of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlparse

from pyspark.sql import DataFrameReader, SparkSession

from jobs.raw_log.files.names import require_distinct

FORMATS = ("parquet", "csv", "jsonl")
ENDINGS = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "json": "jsonl", "ndjson": "jsonl"}
COMPRESSIONS = ("gz", "bz2", "zst", "lz4", "snappy", "deflate")  # endings that Hadoop decompresses


@dataclass(frozen=True)
class Listing:
    """The data files of a path, as URLs; files whose names begin with `_` or `.` are not data.

    partitions: the columns that the names of folders give, `user_id` for a folder `user_id=0042`.
    """

    path: str
    files: tuple[str, ...]
    partitions: tuple[str, ...]

    def reader(self, spark: SparkSession, **options: str | bool) -> DataFrameReader:
        """A reader of these files, folders in folders included; the columns of folders are text."""
        reader = spark.read.options(**options)
        if self.partitions:
            return reader.option("basePath", self.path)
        return reader.option("recursiveFileLookup", True)

    def require_no_columns_twice(self, columns: Sequence[str]) -> None:
        """Raises ValueError if a column of the files is also in the names of folders."""
        require_distinct(self.path, [*columns, *self.partitions])


def list_files(spark: SparkSession, path: str) -> Listing:
    """The files of a path. Raises ValueError if not all of them are in folders that give the same columns."""
    files = spark.read.option("recursiveFileLookup", True).text(path).inputFiles()
    root = urlparse(_qualified(spark, path)).path.rstrip("/")
    of_file = {file: _folder_columns(path, unquote(urlparse(file).path).removeprefix(root)) for file in files}
    layouts = sorted(set(of_file.values()))
    if len(layouts) > 1:
        raise ValueError(f"{path} must have all its files in folders of the same columns, got {layouts}")
    return Listing(path, tuple(sorted(of_file)), layouts[0] if layouts else ())


def file_pattern(url: str) -> str:
    """The path of a file's URL, as a pattern that matches only this file."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", unquote(url))


def format_of(path: str) -> str | None:
    """The format that the ending of a name stands for, None if it is no known one; `x.csv.gz` is CSV."""
    endings = path.rstrip("/").rsplit("/", 1)[-1].lower().split(".")[1:]
    if endings and endings[-1] in COMPRESSIONS:
        endings.pop()
    return ENDINGS.get(endings[-1]) if endings else None


def common_format(listing: Listing) -> str:
    """The format of all files of a folder. Raises ValueError if it is unknown, or not the same for all."""
    found = {format_of(file) for file in listing.files}
    if len(found) != 1 or None in found:
        known = ", ".join(ENDINGS)
        raise ValueError(f"--format must be given if a file name ends in none of {known}, got {listing.path}")
    return str(found.pop())


def _folder_columns(path: str, relative: str) -> tuple[str, ...]:
    """The columns in the names of the folders between the root and a file. Raises ValueError for an empty value."""
    pairs = [folder.partition("=") for folder in relative.split("/")[:-1] if "=" in folder]
    if empty := [f"{name}=" for name, _, value in pairs if not value]:
        raise ValueError(f"{path} must have a value in the name of each folder, got {empty}")
    return tuple(name for name, _, _ in pairs)


def _qualified(spark: SparkSession, path: str) -> str:
    hadoop = spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]
    return str(hadoop.getFileSystem(spark._jsc.hadoopConfiguration()).makeQualified(hadoop).toString())
