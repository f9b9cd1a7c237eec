"""CSV files with a header, as RFC 4180 has them: cells in quotes may contain commas, quotes (doubled) and line ends.

Columns are matched by the header of each file. A cell that is empty, in quotes or not, is a missing value. Files
without a line end inside a cell are read in parts; any other file is read by one task, however large it is.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.raw_log.files.errors import NO_ROW
from jobs.raw_log.files.lines import LONGEST_HEADER, QUOTE, RETURN, FileLines, TextFormat, file_lines
from jobs.raw_log.files.listing import Listing, file_pattern
from jobs.raw_log.files.names import CORRUPT_ROW, named, require_distinct, require_named

OPTIONS: dict[str, str | bool] = {
    "header": True,
    "escape": QUOTE,
    "unescapedQuoteHandling": "RAISE_ERROR",  # the default takes the quotes of a damaged cell as text
    "columnPruning": False,  # with it, rows of too few or too many cells are not found
    "columnNameOfCorruptRecord": CORRUPT_ROW,
}
SEPARATORS = ",;\t|"  # that other files have; any character can be given


@dataclass(frozen=True)
class Layout:
    """How a file is read. line_end: None if no line ends inside a cell, so that the file can be read in parts.

    may_end_in_return: whether a row may be cut from a \\r that is part of its line end or of its last cell.
    """

    columns: tuple[str, ...]
    line_end: str | None
    may_end_in_return: bool

    @classmethod
    def of(cls, lines: FileLines, text: TextFormat) -> Layout:
        """Raises ValueError if the file has no sound header, a quote that is not closed, or the character NUL."""
        if lines.quotes % 2:
            raise ValueError(f"{lines.file} must close each quoted cell, got {lines.quotes:,} quotes")
        if lines.with_nul:  # Spark's parser drops one that follows a quote
            raise ValueError(f"{lines.file} must not have the character NUL, got {lines.with_nul:,} lines with it")
        has_strange_returns = not lines.is_crlf and lines.returns > 0
        in_parts = text.encoding is None and not (lines.open_lines or lines.inner_returns or has_strange_returns)
        line_end = "\r\n" if lines.is_crlf else "\n"
        return cls(header_columns(lines, text.separator), None if in_parts else line_end, has_strange_returns)


def read_csv(spark: SparkSession, listing: Listing, required: Collection[str], text: TextFormat) -> DataFrame:
    """The rows of CSV files, all values as text, and CORRUPT_ROW. required: columns that each file must have.

    Raises ValueError if a file is not text, has no sound header or lacks a required column.
    """
    groups: dict[Layout, list[str]] = {}
    for lines in file_lines(spark, listing, text.encoding):
        layout = Layout.of(lines, text)
        listing.require_no_columns_twice(layout.columns)
        require_named(lines.file, [*layout.columns, *listing.partitions], required)
        groups.setdefault(layout, []).append(lines.file)
    if not groups:
        raise ValueError(f"{listing.path}: {NO_ROW}")
    frames = [
        _read(spark, listing, layout, [listing.path] if len(groups) == 1 else list(map(file_pattern, files)), text)
        for layout, files in groups.items()
    ]
    return reduce(partial(DataFrame.unionByName, allowMissingColumns=True), frames)


def header_columns(lines: FileLines, separator: str) -> tuple[str, ...]:
    """The names in a file's header; a column without a name is called _c0, _c1 and so on, by its position.

    Raises ValueError if the header continues on a second line, is too long or has another separator, or if two names
    are the same.
    """
    if len(lines.header) > LONGEST_HEADER:
        raise ValueError(f"{lines.file} must have a header of at most {LONGEST_HEADER:,} characters, got a longer line")
    if lines.header.count(QUOTE) % 2:
        raise ValueError(f"{lines.file} must have its header on one line, got {lines.header!r}")
    try:
        names = _cells(lines.header, separator)
    except csv.Error as error:
        _require_separator(lines, separator)
        raise ValueError(f"{lines.file} must begin with a CSV header, on a line that ends with \\n: {error}") from error
    if len(names) == 1:
        _require_separator(lines, separator)
    columns = tuple(name or f"_c{position}" for position, name in enumerate(names))
    require_distinct(lines.file, [*columns, CORRUPT_ROW])
    return columns


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, strict=True))


def _require_separator(lines: FileLines, separator: str) -> None:
    """Raises ValueError if another usual separator divides a header that the given one does not."""
    for mark in SEPARATORS.replace(separator, ""):
        with suppress(csv.Error):
            if len(_cells(lines.header, mark)) > 1:
                hint = f"--separator {mark!r} reads such a file"
                raise ValueError(
                    f"{lines.file} must have {separator!r} between its cells, got {lines.header!r}; {hint}"
                )


def _read(spark: SparkSession, listing: Listing, layout: Layout, paths: list[str], text: TextFormat) -> DataFrame:
    """The rows of files of one layout."""
    reader = listing.reader(spark, **OPTIONS, sep=text.separator)
    if layout.line_end is not None:
        reader = reader.options(multiLine=True, lineSep=layout.line_end)
    if text.encoding is not None:
        reader = reader.option("encoding", text.encoding)
    schema = StructType([StructField(name, StringType()) for name in (*layout.columns, CORRUPT_ROW)])
    rows = reader.schema(schema).csv(paths)
    if not layout.may_end_in_return:
        return rows
    last = named(layout.columns[-1])
    cut = F.when(F.endswith(last, F.lit(RETURN)), F.to_json(F.struct(*map(named, layout.columns))))
    return rows.withColumn(CORRUPT_ROW, F.coalesce(CORRUPT_ROW, cut))
