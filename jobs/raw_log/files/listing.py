"""The files of a path: a file, a folder with folders in it, or a pattern; and the columns in the names of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlparse

from pyspark.sql import DataFrameReader, SparkSession

from jobs.raw_log.files.delta_folders import require_no_delta_table
from jobs.raw_log.files.names import require_distinct
from jobs.raw_log.files.paths import spark_path

FORMATS = ("parquet", "csv", "jsonl")
ENDINGS = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "json": "jsonl", "ndjson": "jsonl"}
COMPRESSIONS = ("gz", "bz2", "zst", "lz4", "snappy", "deflate")  # endings that Hadoop decompresses
WILDCARDS = frozenset("*?[]{}\\")


@dataclass(frozen=True)
class Listing:
    """The data files of a path, as URLs; files whose names begin with `_` or `.` are not data.

    root: the path, or the folder above the first wildcard of a pattern. partitions: the columns that the names of
    folders below it give, `user_id` for a folder `user_id=0042`.
    """

    path: str
    root: str
    files: tuple[str, ...]
    partitions: tuple[str, ...]

    def reader(self, spark: SparkSession, **options: str | bool) -> DataFrameReader:
        """A reader of these files, folders in folders included; the columns of folders are text."""
        reader = spark.read.options(**options)
        if self.partitions:
            return reader.option("basePath", self.root)
        return reader.option("recursiveFileLookup", True)

    def require_no_columns_twice(self, columns: Sequence[str]) -> None:
        """Raises ValueError if a column of the files is also in the names of folders."""
        require_distinct(self.path, [*columns, *self.partitions])


def list_files(spark: SparkSession, path: str) -> Listing:
    """The files of a path.

    Raises ValueError if not all of them are in folders that give the same columns, or if they are of a Delta table.
    """
    files = spark.read.option("recursiveFileLookup", True).text(path).inputFiles()
    require_no_delta_table(spark, path, files)
    root = _root(path)
    above = str(spark_path(spark, root)[1].toUri().getPath()).rstrip("/")
    of_file = {file: _folder_columns(path, unquote(urlparse(file).path).removeprefix(above)) for file in files}
    layouts = sorted(set(of_file.values()))
    if len(layouts) > 1:
        raise ValueError(f"{path} must have all its files in folders of the same columns, got {layouts}")
    return Listing(path, root, tuple(sorted(of_file)), layouts[0] if layouts else ())


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
    found = {file: format_of(file) for file in listing.files}
    if not found:
        raise ValueError(f"{listing.path} must have a file, got an empty folder")
    if unknown := [file for file, file_format in found.items() if file_format is None]:
        known = ", ".join(ENDINGS)
        raise ValueError(f"--format must be given if a file name ends in none of {known}, got {unknown[0]}")
    formats = sorted({str(file_format) for file_format in found.values()})
    if len(formats) > 1:
        raise ValueError(f"{listing.path} must have files of one format, got files of {' and '.join(formats)}")
    return formats[0]


def _folder_columns(path: str, relative: str) -> tuple[str, ...]:
    """The columns in the names of the folders between the root and a file. Raises ValueError for an empty value."""
    pairs = [folder.partition("=") for folder in relative.split("/")[:-1] if "=" in folder]
    if empty := [f"{name}=" for name, _, value in pairs if not value]:
        raise ValueError(f"{path} must have a value in the name of each folder, got {empty}")
    return tuple(name for name, _, _ in pairs)


def _root(path: str) -> str:
    """The path, or the folder above the first name with a wildcard, so that this name can give a column."""
    names = path.split("/")
    first = next((number for number, name in enumerate(names) if WILDCARDS & set(name)), len(names))
    if first == len(names):
        return path
    return "/".join(names[:first]) + "/" if first else "."
