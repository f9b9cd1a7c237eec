"""Log files as they come: read them, check their columns, and part the rows that keep the contract from the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from jobs.lake.days import day_end
from jobs.lake.tables import CLICKS, QUARANTINE

CORRUPT = "_corrupt_record"
SEPARATOR = "|"  # between the values of a list in a CSV cell
OPTIONAL = {"request_id", "position", "published_at", "available", "reward"}  # columns that a file may leave out
REQUIRED_VALUES = {"impression_id", "user_id", "item_id", "impressed_at", "clicked_at"}  # never null
WHOLE_TYPES = (ByteType, ShortType, IntegerType, LongType)
# what each type of the contract may be made from; text may become anything, row by row
SOURCES: dict[type[DataType], tuple[type[DataType], ...]] = {
    StringType: (StringType, *WHOLE_TYPES, DecimalType, BooleanType),
    IntegerType: (StringType, *WHOLE_TYPES),
    DoubleType: (StringType, *WHOLE_TYPES, DecimalType, FloatType, DoubleType),
    BooleanType: (StringType, BooleanType),
    TimestampType: (StringType, TimestampType, TimestampNTZType, DateType),
}
# Clicks name their impression; or their user and item, which is how they are attributed then, or, in a log of clicks
# alone, what their own impression shows.
CLICKS_BY_IMPRESSION = CLICKS.pick("ds", "impression_id", "clicked_at", "reward")
CLICKS_BY_ITEM = CLICKS.pick("ds", "user_id", "item_id", "clicked_at", "reward")


@dataclass(frozen=True)
class Parsed:
    """A file's rows with what is wrong with each: `reason` is null where nothing is."""

    rows: DataFrame
    table: str
    source: str
    columns: list[str]

    @property
    def accepted(self) -> DataFrame:
        return self.rows.where(F.col("reason").isNull()).select(self.columns)

    @property
    def refused(self) -> DataFrame:
        """Rows (ds, table, reason, source, row) as the quarantine table holds them."""
        labels = {"table": F.lit(self.table), "source": F.lit(self.source)}
        return self.rows.where(F.col("reason").isNotNull()).withColumns(labels).select(QUARANTINE.columns)


def read_file(
    spark: SparkSession, path: str, form: str | None, wanted: StructType, additional: str = "drop"
) -> DataFrame:
    """The file's own columns.

    Raises ValueError where it cannot be read, lacks a column of the contract, or has another one and `additional` is
    refuse.
    """
    form = form or _form_of(path)
    reader = spark.read.option("columnNameOfCorruptRecord", CORRUPT)
    with readable(f"{path} cannot be read as {form}"):
        if form == "parquet":
            rows = reader.parquet(path)
        elif form == "csv":
            header = reader.option("header", True).csv(path).schema
            rows = reader.option("header", True).csv(path, header.add(CORRUPT, "string") if header.fields else header)
        else:
            rows = reader.option("primitivesAsString", True).json(path)
    if not rows.columns or rows.columns == [CORRUPT]:
        raise ValueError(f"{path}: the file has no row" if not rows.columns else f"{path} holds no {form} rows")
    missing = [
        name for name in wanted.fieldNames() if name != "ds" and name not in OPTIONAL and name not in rows.columns
    ]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}; it has {rows.columns}")
    more = [name for name in rows.columns if name not in {*wanted.fieldNames(), CORRUPT}]
    if more and additional == "refuse":
        raise ValueError(f"{path} has the columns {more}, which the contract does not name (log.additional_columns)")
    return rows


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turns what Spark throws at a file that it cannot read into a ValueError of one line."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        raise ValueError(f"{what}: {_cause(error)}") from error


def _form_of(path: str) -> str:
    ending = path.rstrip("/").rsplit(".", 1)[-1].lower()
    forms = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "json": "jsonl", "ndjson": "jsonl"}
    if ending not in forms:
        raise ValueError(f"{path}: the ending tells no format, say --format parquet, csv or jsonl")
    return forms[ending]


def parse(rows: DataFrame, wanted: StructType, table: str, source: str, ds: dt.date) -> Parsed:
    """Cast every column to the contract's type, and give each row that does not fit the first reason why.

    Raises ValueError where a column's type can never become the contract's.
    """
    fields = [field for field in wanted if field.name != "ds"]
    text = F.to_json(F.struct(*rows.columns))
    reasons: list[Column] = []
    if CORRUPT in rows.columns:
        reasons.append(F.when(F.col(CORRUPT).isNotNull(), F.lit("row cannot be parsed")))
    columns = []
    for field in fields:
        if field.name not in rows.columns:
            columns.append(F.lit(True if field.name == "available" else None).cast(field.dataType).alias(field.name))
            continue
        _check_type(source, field, rows.schema[field.name].dataType)
        value = _cast(F.col(field.name), rows.schema[field.name].dataType, field.dataType)
        columns.append(value.alias(field.name))
        reasons += _reasons(field, value, ds)
    reason = F.coalesce(*reasons) if reasons else F.lit(None)
    checked = rows.select(F.lit(ds).alias("ds"), *columns, reason.cast("string").alias("reason"), text.alias("row"))
    return Parsed(checked, table, source, ["ds", *(field.name for field in fields)])


def _reasons(field: StructField, value: Column, ds: dt.date) -> list[Column]:
    given, name = F.col(field.name), field.name
    reasons = []
    if name in REQUIRED_VALUES:
        empty = given.isNull() | (given.cast("string") == "")
        reasons.append(F.when(empty, F.lit(f"{name} is missing")))
    if not isinstance(field.dataType, ArrayType):
        kind = field.dataType.simpleString()
        reasons.append(
            F.when(given.isNotNull() & (given.cast("string") != "") & value.isNull(), F.lit(f"{name} is no {kind}"))
        )
    if name in ("impressed_at", "clicked_at"):
        reasons.append(F.when(value >= F.lit(day_end(ds)), F.lit(f"{name} lies after the day on which it landed")))
    if name == "reward":
        sound = (value >= 0) & (value < F.lit(float("inf")))  # Spark orders NaN after infinity
        reasons.append(F.when(~sound, F.lit(f"{name} is negative or not finite")))
    return reasons


def _check_type(source: str, field: StructField, got: DataType) -> None:
    want, have = field.dataType, got
    if isinstance(want, ArrayType):
        if isinstance(have, StringType):
            return
        if not isinstance(have, ArrayType):
            raise ValueError(f"{source}: column {field.name} is {got.simpleString()}, wanted {want.simpleString()}")
        want, have = want.elementType, have.elementType
    if not isinstance(have, SOURCES[type(want)]):
        raise ValueError(
            f"{source}: column {field.name} is {got.simpleString()}, wanted {field.dataType.simpleString()}"
        )


def _cast(value: Column, got: DataType, want: DataType) -> Column:
    if isinstance(want, ArrayType) and isinstance(got, StringType):
        value = F.when(value == "", F.array().cast("array<string>")).otherwise(F.split(value, f"\\{SEPARATOR}"))
    return value.try_cast(want)


def impressions_of_clicks(clicks: DataFrame) -> dict[str, DataFrame]:
    """Both raw tables for a log of clicks alone: each distinct click is an impression that was clicked when shown."""
    identity = F.sha2(F.concat_ws("\x1f", "user_id", "item_id", F.unix_micros("clicked_at").cast("string")), 256)
    clicks = clicks.withColumn("impression_id", identity)
    shown = clicks.select(
        "ds", "impression_id", F.col("impression_id").alias("request_id"), "user_id", "item_id",
        F.lit(None).cast("int").alias("position"), F.col("clicked_at").alias("impressed_at"),
    )  # fmt: skip
    return {"impressions": shown.distinct(), "clicks": whole_clicks(clicks)}


def whole_clicks(clicks: DataFrame) -> DataFrame:
    """`clicks` with every column of the table; null where the file does not bring it."""
    return clicks.select(
        *(F.col(name) if name in clicks.columns else F.lit(None).cast("string").alias(name) for name in CLICKS.columns)
    )


def _cause(error: Any) -> str:
    """The first line of what Spark says, without its stack."""
    text = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0][:300]
