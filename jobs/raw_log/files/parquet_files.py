"""Parquet files, whose columns are merged by name. Times in nanoseconds, pandas' default, are cut to microseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, LongType

from jobs.raw_log.files.errors import NO_ROW
from jobs.raw_log.files.listing import Listing, file_pattern
from jobs.raw_log.files.names import quoted

READERS = 16  # files whose footers are read at the same time


@dataclass(frozen=True)
class Footer:
    """The columns of a file: all; times in nanoseconds; those without a value, which pandas writes as integers.

    times_of_day: those of a type that Spark cannot read.
    """

    columns: frozenset[str]
    nanoseconds: frozenset[str]
    empty: frozenset[str]
    times_of_day: frozenset[str]


def read_parquet(spark: SparkSession, listing: Listing) -> DataFrame:
    """The rows of Parquet files; a column that a file does not have, or has without a value, is null in its rows.

    Raises ValueError if a column is in nanoseconds in some of the files only, or has times of a day. Spark raises if
    the types of a column differ between files.
    """
    try:
        return _read(spark, listing, [listing.path], listing.files)
    except (PySparkException, Py4JJavaError):
        # a column without a value, to which pandas and pyarrow give no type, has another type in other files
        groups: dict[frozenset[str], list[str]] = {}
        for file, footer in _footers(spark, listing.files).items():
            if footer.times_of_day:
                rule = f"must have the columns {sorted(footer.times_of_day)} as text or times, which Spark can read"
                raise ValueError(f"{file} {rule}; they are times of a day") from None
            groups.setdefault(footer.empty, []).append(file)
        if len(groups) < 2:
            raise
    frames = [_read(spark, listing, [*map(file_pattern, files)], files).drop(*empty) for empty, files in groups.items()]
    return reduce(partial(DataFrame.unionByName, allowMissingColumns=True), frames)


def _read(spark: SparkSession, listing: Listing, paths: Sequence[str], files: Sequence[str]) -> DataFrame:
    """The rows of files whose columns can be merged. paths: the files, or their folder."""
    schema = spark.read.options(recursiveFileLookup=True, mergeSchema=True).parquet(*paths).schema
    listing.require_no_columns_twice(schema.fieldNames())
    if not schema.fields:
        raise ValueError(f"{listing.path}: {NO_ROW}")
    rows = listing.reader(spark).schema(schema).parquet(*paths)
    if not any(isinstance(column.dataType, LongType | IntegerType) for column in schema):
        return rows
    footers = _footers(spark, files)
    nanoseconds = frozenset[str]().union(*(footer.nanoseconds for footer in footers.values()))
    for file, footer in footers.items():
        if mixed := sorted((nanoseconds & footer.columns) - footer.nanoseconds):
            raise ValueError(f"{listing.path} must have {mixed} as times in all files, or in none; {file} differs")
    empty = footers[files[0]].empty if len(files) == 1 else ()
    texts = {name: F.lit(None).cast("string") for name in sorted(empty)}
    return rows.withColumns({name: _microseconds(name) for name in sorted(nanoseconds)} | texts)


def _microseconds(name: str) -> Column:
    """The time of a number of nanoseconds; what is finer than a microsecond is cut off."""
    value = quoted(name)
    return F.expr(f"timestamp_micros(({value} - pmod({value}, 1000)) div 1000)")


def _footers(spark: SparkSession, files: Sequence[str]) -> dict[str, Footer]:
    """The footer of each file, several at a time: a store takes long to answer, not to compute."""
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(files, pool.map(partial(_footer, spark), files), strict=True))


def _footer(spark: SparkSession, file: str) -> Footer:
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file))
    source = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, spark._jsc.hadoopConfiguration())
    reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
    try:
        metadata = reader.getFooter().getFileMetaData()
        types = {field.getName(): str(field.getLogicalTypeAnnotation()) for field in metadata.getSchema().getFields()}
        of_pandas = json.loads(metadata.getKeyValueMetaData().get("pandas") or "{}").get("columns", [])
    finally:
        reader.close()
    empty = {column["field_name"] for column in of_pandas if column["pandas_type"] == "empty"}
    times_of_day = frozenset(name for name, kind in types.items() if kind.startswith("TIME("))
    nanoseconds = frozenset(name for name, kind in types.items() if "NANOS" in kind) - times_of_day
    return Footer(frozenset(types), nanoseconds, frozenset(empty & types.keys()), times_of_day)
