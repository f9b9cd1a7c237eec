"""JSON lines: one object per line. Numbers and truth values are read as the text that the file has for them.

The lines are read twice before the rows are: once as text, for what Spark would read as another value without a word,
and once by Spark, for the columns of all lines. Both cost less than the parser of the rows.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.raw_log.files.errors import NO_ROW
from jobs.raw_log.files.lines import NUL, is_undecoded, require_decoded, text_lines
from jobs.raw_log.files.listing import Listing
from jobs.raw_log.files.names import CORRUPT_ROW

WIDE = ("utf-16", "utf16", "utf-32", "utf32")  # beginnings of encodings whose line ends Spark does not find
ESCAPE = r"(?<!\\)((?:\\\\)*+)\\u[dD]"  # of one half of a surrogate pair, if 8 to f follow
PAIR = ESCAPE + r"[89abAB]\w{2}\\u[dD][c-fC-F]\w{2}"
HALF = ESCAPE + r"[89a-fA-F]"
LONGEST_LINE = 2**31 - 1  # bytes
RULES = {  # by the name of a count of lines
    "with_nul": "must not have the character NUL, which UTF-16 has and UTF-8 does not, got {:,} lines with it",
    "half_pairs": r"must not have half of a surrogate pair, such as \ud83d alone, got {:,} lines with it",
    "two_objects": "must have one object per line, got {:,} lines with more",
}


def read_json_lines(spark: SparkSession, listing: Listing, encoding: str | None) -> DataFrame:
    """The rows of JSON lines files, values as text, lists and structs; CORRUPT_ROW if a line cannot be parsed.

    Raises ValueError if a file is not text in its encoding, or has a line that Spark would read as another value: with
    two objects, with the character NUL, or with half of a surrogate pair.
    """
    if encoding is not None and encoding.lower().startswith(WIDE):
        raise ValueError(f"--encoding of JSON lines must not be {encoding}; write the file as UTF-8")
    _require_readable(spark, listing, encoding)
    options: dict[str, str | bool] = {"primitivesAsString": True, "columnNameOfCorruptRecord": CORRUPT_ROW}
    if encoding is not None:
        options |= {"encoding": encoding, "lineSep": "\n"}
    inferred = spark.read.options(**options, recursiveFileLookup=True).json(listing.path).schema
    fields = [field for field in inferred if field.name != CORRUPT_ROW]
    if not fields:
        raise ValueError(f"{listing.path} must have one JSON object per line, got no line with one")
    listing.require_no_columns_twice([field.name for field in fields])
    schema = StructType([*fields, StructField(CORRUPT_ROW, StringType())])
    return listing.reader(spark, **options).schema(schema).json(listing.path)


def _require_readable(spark: SparkSession, listing: Listing, encoding: str | None) -> None:
    """Raises ValueError if no file has a line, or that names the first file with lines that cannot be read."""
    value = F.col("value")
    faults = {
        "undecoded": is_undecoded(value, encoding),
        "with_nul": F.contains(value, F.lit(NUL)),
        "half_pairs": _has_half_pair(value),
        "two_objects": _has_two_objects(value),
    }
    counts = [F.count_if(is_faulty).alias(name) for name, is_faulty in faults.items()]
    lines = text_lines(spark, listing, encoding).where(F.trim(value) != "")
    files = lines.groupBy("file").agg(*counts).collect()  # one row per file
    if not files:
        raise ValueError(f"{listing.path}: {NO_ROW}")
    for file in sorted(files):
        require_decoded(file.file, file.undecoded, encoding)
        for name, rule in RULES.items():
            if file[name]:
                raise ValueError(f"{file.file} {rule.format(file[name])}")


def _has_half_pair(value: Column) -> Column:
    """Whether a line has the escape of half a surrogate pair, which Spark reads as a question mark."""
    is_candidate = F.contains(value, F.lit(r"\ud")) | F.contains(value, F.lit(r"\uD"))
    return F.when(is_candidate, F.regexp_replace(value, PAIR, "$1").rlike(HALF))


def _has_two_objects(value: Column) -> Column:
    """Whether a line has a second JSON object after the first, which Spark would ignore."""
    outside_texts = F.regexp_replace(value, r'"(?:\\.|[^"\\])*+"', "")
    # in most lines the first character is the only brace; bytes are compared ten times faster than by an expression
    after_first = F.substring(value.cast("binary"), 2, LONGEST_LINE)
    is_candidate = F.when(F.contains(after_first, F.lit(b"{")), value.rlike(r"\}\s*\{"))
    return F.when(is_candidate, outside_texts.rlike(r"\}\s*\{"))
