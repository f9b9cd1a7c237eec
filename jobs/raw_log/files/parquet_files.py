"""Parquet files, whose columns are merged by name. Times in nanoseconds, pandas' default, are cut to microseconds."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType

from jobs.raw_log.files.listing import Listing
from jobs.raw_log.files.names import quoted


def read_parquet(spark: SparkSession, listing: Listing) -> DataFrame:
    """The rows of Parquet files; a column that a file does not have is null in its rows.

    Raises ValueError if a column is in nanoseconds in some of the files only. Spark raises if the types of a column
    differ between files.
    """
    schema = spark.read.options(recursiveFileLookup=True, mergeSchema=True).parquet(listing.path).schema
    listing.require_no_columns_twice(schema.fieldNames())
    if not schema.fields:
        raise ValueError(f"{listing.path}: the file has no row")
    rows = listing.reader(spark).schema(schema).parquet(listing.path)
    integers = {field.name for field in schema if isinstance(field.dataType, LongType)}
    times = _nanosecond_columns(spark, listing) if integers else set()
    return rows.withColumns({name: _microseconds(name) for name in sorted(times & integers)})


def _microseconds(name: str) -> Column:
    """The time of a number of nanoseconds; what is finer than a microsecond is cut off."""
    value = quoted(name)
    return F.expr(f"timestamp_micros(({value} - pmod({value}, 1000)) div 1000)")


def _nanosecond_columns(spark: SparkSession, listing: Listing) -> set[str]:
    """The columns that have nanoseconds: Spark reads them as numbers (spark.sql.legacy.parquet.nanosAsLong)."""
    found = _nanoseconds_of_file(spark, listing.files[0])
    for file in listing.files[1:] if any(found.values()) else ():
        of_file = _nanoseconds_of_file(spark, file)
        if mixed := [name for name in found.keys() & of_file.keys() if found[name] != of_file[name]]:
            raise ValueError(f"{listing.path} must have {mixed} as times in all files, or in none; {file} differs")
        found |= of_file
    return {name for name, is_time in found.items() if is_time}


def _nanoseconds_of_file(spark: SparkSession, file: str) -> dict[str, bool]:
    """For each column of a file, whether it is a time in nanoseconds; from the file's footer."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file))
    source = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, spark._jsc.hadoopConfiguration())
    reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
    try:
        columns = reader.getFooter().getFileMetaData().getSchema().getFields()
        return {column.getName(): "NANOS" in str(column.getLogicalTypeAnnotation()) for column in columns}
    finally:
        reader.close()
