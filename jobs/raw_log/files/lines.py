"""What one pass over the lines of text files shows before they are parsed: headers, quotes, line ends, encoding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.raw_log.files.listing import Listing

QUOTE, RETURN, NUL, NO_CHARACTER = '"', "\r", "\0", "\ufffd"
LONGEST_HEADER = 1_000_000  # characters; a large file of one line must not come to the driver


@dataclass(frozen=True)
class FileLines:
    """What the lines of a file show.

    header: its first line that is not blank, without its end; cut if it is too long. is_crlf: that line ends with
    \\r\\n. undecoded: lines that are not text in the file's encoding. quotes: the number of quote characters.
    open_lines: lines with an odd number of them, as in a cell that continues on the next line. returns: lines that end
    with \\r. inner_returns: lines with another \\r. with_nul: lines with the character NUL. two_objects: lines with a
    second JSON object.
    """

    file: str
    header: str
    is_crlf: bool
    undecoded: int
    quotes: int
    open_lines: int
    returns: int
    inner_returns: int
    with_nul: int
    two_objects: int


def file_lines(
    spark: SparkSession, listing: Listing, encoding: str | None, longest_header: int = LONGEST_HEADER
) -> list[FileLines]:
    """What the lines of each file show, in one pass; a file without a line is left out. encoding: None is UTF-8.

    longest_header: characters of a header, which has one more if it is cut. Raises ValueError if a file is not text in
    that encoding.
    """
    lines, value = _lines(spark, listing, encoding), F.col("value")
    undecoded = ~F.is_valid_utf8(value) if encoding is None else F.contains(value, F.lit(NO_CHARACTER))
    without_quotes = F.length(F.replace(value, F.lit(QUOTE), F.lit("")))
    quotes = F.when(F.contains(value, F.lit(QUOTE)), F.length(value) - without_quotes)
    most = longest_header + 1
    first = F.when(F.octet_length(value) > most, F.left(value, F.lit(most))).otherwise(value)
    length = F.length(value)
    first_return = F.when(F.contains(value, F.lit(RETURN)), F.instr(value, RETURN))
    rows = (
        lines.withColumn("quotes", F.coalesce(quotes, F.lit(0)))
        .groupBy("file")
        .agg(
            F.min_by(first, F.when(F.trim(value) != "", F.struct("start", "position"))).alias("header"),
            F.count_if(undecoded).alias("undecoded"),
            F.sum("quotes").alias("quotes"),
            F.count_if(F.col("quotes") % 2 == 1).alias("open_lines"),
            F.count_if(F.endswith(value, F.lit(RETURN))).alias("returns"),
            F.count_if(first_return < length).alias("inner_returns"),
            F.count_if(F.contains(value, F.lit(NUL))).alias("with_nul"),
            F.count_if(_has_two_objects()).alias("two_objects"),
        )
    )
    found = [_of_row(row.asDict()) for row in rows.collect() if row.header is not None]  # one row per file
    _require_decoded(found, encoding)
    return sorted(found, key=lambda lines: lines.file)


def _of_row(row: dict[str, str | int]) -> FileLines:
    header = str(row.pop("header"))
    is_crlf = header.endswith(RETURN)
    return FileLines(header=header.removesuffix(RETURN).lstrip("\ufeff"), is_crlf=is_crlf, **row)  # type: ignore[arg-type]


def _lines(spark: SparkSession, listing: Listing, encoding: str | None) -> DataFrame:
    """The lines of the files, ended by \\n alone: columns value, file, start (of the part of the file) and position."""
    if encoding is None:
        lines = spark.read.options(recursiveFileLookup=True, lineSep="\n").text(listing.path)
    else:  # a table of one column, because Spark decodes no other text
        options = {"recursiveFileLookup": True, "lineSep": "\n", "encoding": encoding, "multiLine": True}
        lines = spark.read.options(**options, sep="\x01", quote="").schema("value string").csv(listing.path)  # type: ignore[arg-type]
    metadata = F.col("_metadata.file_path").alias("file"), F.col("_metadata.file_block_start").alias("start")
    return lines.select("value", *metadata, F.monotonically_increasing_id().alias("position"))


def _has_two_objects() -> Column:
    """Whether a line has a second JSON object after the first, which Spark would ignore."""
    value = F.col("value")
    outside_texts = F.regexp_replace(value, r'"(\\.|[^"\\])*"', "")
    is_candidate = F.contains(value, F.lit("}")) & value.rlike(r"\}\s*\{")
    return F.when(is_candidate, outside_texts.rlike(r"\}\s*\{"))


def _require_decoded(found: Iterable[FileLines], encoding: str | None) -> None:
    for lines in found:
        if lines.undecoded:
            name, hint = (encoding, "") if encoding else ("UTF-8", "; --encoding names another encoding")
            raise ValueError(f"{lines.file} must be {name} text, got {lines.undecoded:,} other lines{hint}")
