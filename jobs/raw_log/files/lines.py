"""The lines of text files, and what one pass over those of CSV files shows: headers, quotes, line ends, encoding."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.raw_log.files.listing import Listing

QUOTE, RETURN, NUL, NO_CHARACTER = '"', "\r", "\0", "\ufffd"
LONGEST_HEADER = 1_000_000  # characters; a large file of one line must not come to the driver


@dataclass(frozen=True)
class TextFormat:
    """How text files are written. encoding: None is UTF-8. separator: the character between the cells of CSV files."""

    encoding: str | None = None
    separator: str = ","


@dataclass(frozen=True)
class FileLines:
    """What the lines of a file show.

    header: its first line that is not blank, without its end; cut if it is too long. is_crlf: that line ends with
    \\r\\n. undecoded: lines that are not text in the file's encoding. quotes: the number of quote characters.
    open_lines: lines with an odd number of them, as in a cell that continues on the next line. returns: lines that end
    with \\r. inner_returns: lines with another \\r. with_nul: lines with the character NUL.
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


def file_lines(spark: SparkSession, listing: Listing, encoding: str | None) -> list[FileLines]:
    """What the lines of each file show, in one pass; a file without a line is left out. encoding: None is UTF-8.

    A header has at most LONGEST_HEADER characters, and one more if it is cut. Raises ValueError if a file is not text
    in that encoding.
    """
    lines, value = text_lines(spark, listing, encoding), F.col("value")
    without_quotes = F.length(F.replace(value, F.lit(QUOTE), F.lit("")))
    quotes = F.when(F.contains(value, F.lit(QUOTE)), F.length(value) - without_quotes)
    most = LONGEST_HEADER + 1
    first = F.when(F.octet_length(value) > most, F.left(value, F.lit(most))).otherwise(value)
    length = F.length(value)
    first_return = F.when(F.contains(value, F.lit(RETURN)), F.instr(value, RETURN))
    rows = (
        lines.withColumn("quotes", F.coalesce(quotes, F.lit(0)))
        .groupBy("file")
        .agg(
            F.min_by(first, F.when(F.trim(value) != "", F.struct("start", "position"))).alias("header"),
            F.count_if(is_undecoded(value, encoding)).alias("undecoded"),
            F.sum("quotes").alias("quotes"),
            F.count_if(F.col("quotes") % 2 == 1).alias("open_lines"),
            F.count_if(F.endswith(value, F.lit(RETURN))).alias("returns"),
            F.count_if(first_return < length).alias("inner_returns"),
            F.count_if(F.contains(value, F.lit(NUL))).alias("with_nul"),
        )
    )
    found = [_of_row(row.asDict()) for row in rows.collect() if row.header is not None]  # one row per file
    for each in found:
        require_decoded(each.file, each.undecoded, encoding)
    return sorted(found, key=lambda lines: lines.file)


def _of_row(row: dict[str, str | int]) -> FileLines:
    header = str(row.pop("header"))
    is_crlf = header.endswith(RETURN)
    return FileLines(header=header.removesuffix(RETURN).lstrip("\ufeff"), is_crlf=is_crlf, **row)  # type: ignore[arg-type]


def text_lines(spark: SparkSession, listing: Listing, encoding: str | None) -> DataFrame:
    """The lines of the files, ended by \\n alone: columns value, file, start (of the part of the file) and position."""
    if encoding is None:
        lines = spark.read.options(recursiveFileLookup=True, lineSep="\n").text(listing.path)
    else:  # a table of one column, because Spark decodes no other text
        options = {"recursiveFileLookup": True, "lineSep": "\n", "encoding": encoding, "multiLine": True}
        lines = spark.read.options(**options, sep="\x01", quote="").schema("value string").csv(listing.path)  # type: ignore[arg-type]
    metadata = F.col("_metadata.file_path").alias("file"), F.col("_metadata.file_block_start").alias("start")
    return lines.select("value", *metadata, F.monotonically_increasing_id().alias("position"))


def is_undecoded(value: Column, encoding: str | None) -> Column:
    """Whether a line is not text in the file's encoding. encoding: None is UTF-8."""
    return ~F.is_valid_utf8(value) if encoding is None else F.contains(value, F.lit(NO_CHARACTER))


def require_decoded(file: str, undecoded: int, encoding: str | None) -> None:
    """Raises ValueError if a file has lines that are not text in its encoding. undecoded: their number."""
    if undecoded:
        name, hint = (encoding, "") if encoding else ("UTF-8", "; --encoding names another encoding")
        raise ValueError(f"{file} must be {name} text, got {undecoded:,} other lines{hint}")
