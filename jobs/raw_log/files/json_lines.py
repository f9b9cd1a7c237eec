"""JSON lines: one object per line. Numbers and truth values are read as the text that the file has for them."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from jobs.raw_log.files.lines import file_lines
from jobs.raw_log.files.listing import Listing
from jobs.raw_log.files.names import CORRUPT_ROW


def read_json_lines(spark: SparkSession, listing: Listing, encoding: str | None) -> DataFrame:
    """The rows of JSON lines files, values as text, lists and structs; CORRUPT_ROW if a line cannot be parsed.

    Raises ValueError if a file is not text in its encoding, or has a line with two objects.
    """
    for lines in file_lines(spark, listing, encoding, longest_header=0):
        if lines.two_objects:
            raise ValueError(f"{lines.file} must have one object per line, got {lines.two_objects:,} lines with more")
    options: dict[str, str | bool] = {"primitivesAsString": True, "columnNameOfCorruptRecord": CORRUPT_ROW}
    if encoding is not None:
        options |= {"encoding": encoding, "lineSep": "\n"}
    schema = spark.read.options(**options, recursiveFileLookup=True).json(listing.path).schema
    listing.require_no_columns_twice(schema.fieldNames())
    rows = listing.reader(spark, **options).schema(schema).json(listing.path) if schema.fields else None
    if rows is None:
        raise ValueError(f"{listing.path}: the file has no row")
    if schema.fieldNames() == [CORRUPT_ROW]:
        raise ValueError(f"{listing.path} has no jsonl rows")
    return rows
