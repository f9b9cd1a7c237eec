"""The contract of a log file (docs/data-contract.md): its columns, their types, and why a row is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
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
from jobs.raw_log.files import CORRUPT_ROW

LIST_SEPARATOR = "|"  # between the values of a list in a CSV cell
OPTIONAL_COLUMNS = {"request_id", "position", "published_at", "available", "reward"}
REQUIRED_VALUES = {"impression_id", "user_id", "item_id", "impressed_at", "clicked_at"}  # never null or empty
INTEGER_TYPES = (ByteType, ShortType, IntegerType, LongType)
# The types of a file's column from which each type of the contract can be cast. Text is cast row by row.
CASTABLE_TYPES: dict[type[DataType], tuple[type[DataType], ...]] = {
    StringType: (StringType, *INTEGER_TYPES, DecimalType, BooleanType),
    IntegerType: (StringType, *INTEGER_TYPES),
    DoubleType: (StringType, *INTEGER_TYPES, DecimalType, FloatType, DoubleType),
    BooleanType: (StringType, BooleanType),
    TimestampType: (StringType, TimestampType, TimestampNTZType, DateType),
}
CLICKS_BY_IMPRESSION = CLICKS.pick("ds", "impression_id", "clicked_at", "reward")
CLICKS_BY_ITEM = CLICKS.pick("ds", "user_id", "item_id", "clicked_at", "reward")  # attributed, or a log of clicks only


@dataclass(frozen=True)
class ParsedFile:
    """A file's rows in the types of the contract, with `reason`: why the row is refused, null if it is accepted."""

    rows: DataFrame
    table: str
    source: str
    columns: list[str]

    @property
    def accepted(self) -> DataFrame:
        return self.rows.where(F.col("reason").isNull()).select(self.columns)

    @property
    def refused(self) -> DataFrame:
        """Rows (ds, table, reason, source, row) of the table quarantine."""
        labels = {"table": F.lit(self.table), "source": F.lit(self.source)}
        return self.rows.where(F.col("reason").isNotNull()).withColumns(labels).select(QUARANTINE.columns)


def require_columns(rows: DataFrame, schema: StructType, path: str, additional: str) -> None:
    """Raises ValueError if a required column is missing, or if `additional` is "refuse" and there is an unknown one."""
    required = [name for name in schema.fieldNames() if name != "ds" and name not in OPTIONAL_COLUMNS]
    if missing := [name for name in required if name not in rows.columns]:
        raise ValueError(f"{path} must have the columns {missing}, got {rows.columns}")
    unknown = [name for name in rows.columns if name not in {*schema.fieldNames(), CORRUPT_ROW}]
    if unknown and additional == "refuse":
        raise ValueError(f"{path} must only have columns of the contract (log.additional_columns), got {unknown}")


def parse(rows: DataFrame, schema: StructType, table: str, source: str, ds: dt.date) -> ParsedFile:
    """Cast every column to the contract's type; each row that breaks the contract gets the first reason why.

    Raises ValueError if the type of a column can never be cast to that of the contract.
    """
    fields = [field for field in schema if field.name != "ds"]
    reasons: list[Column] = []
    if CORRUPT_ROW in rows.columns:
        reasons.append(F.when(F.col(CORRUPT_ROW).isNotNull(), F.lit("row cannot be parsed")))
    columns = []
    for field in fields:
        if field.name not in rows.columns:
            columns.append(_default(field))
            continue
        got = rows.schema[field.name].dataType
        _require_castable(source, field, got)
        value = _cast(F.col(field.name), got, field.dataType)
        columns.append(value.alias(field.name))
        reasons += _refusal_reasons(field, value, ds)
    reason = (F.coalesce(*reasons) if reasons else F.lit(None)).cast("string").alias("reason")
    text = F.to_json(F.struct(*rows.columns)).alias("row")
    parsed = rows.select(F.lit(ds).alias("ds"), *columns, reason, text)
    return ParsedFile(parsed, table, source, ["ds", *(field.name for field in fields)])


def _default(field: StructField) -> Column:
    """The value of a column that the file does not have: an item is available, everything else is null."""
    return F.lit(True if field.name == "available" else None).cast(field.dataType).alias(field.name)


def _refusal_reasons(field: StructField, value: Column, ds: dt.date) -> list[Column]:
    """One column per rule of the field: the reason if the row breaks the rule, else null. value: the cast column."""
    raw, name = F.col(field.name), field.name
    is_empty = raw.isNull() | (raw.cast("string") == "")
    reasons = []
    if name in REQUIRED_VALUES:
        reasons.append(F.when(is_empty, F.lit(f"{name} is missing")))
    if not isinstance(field.dataType, ArrayType):
        not_castable = raw.isNotNull() & (raw.cast("string") != "") & value.isNull()
        reasons.append(F.when(not_castable, F.lit(f"{name} is not of type {field.dataType.simpleString()}")))
    if name in ("impressed_at", "clicked_at"):
        reasons.append(F.when(value >= F.lit(day_end(ds)), F.lit(f"{name} is after the day on which it landed")))
    if name == "reward":
        is_valid = (value >= 0) & (value < F.lit(float("inf")))  # Spark orders NaN after infinity
        reasons.append(F.when(~is_valid, F.lit(f"{name} is negative or not finite")))
    return reasons


def _require_castable(source: str, field: StructField, got: DataType) -> None:
    """Raises ValueError if no value of the file's type can be cast to the type of the contract."""
    contract, file = field.dataType, got
    if isinstance(contract, ArrayType):
        if isinstance(file, StringType):
            return
        if isinstance(file, ArrayType):
            contract, file = contract.elementType, file.elementType
    if not isinstance(file, CASTABLE_TYPES.get(type(contract), ())):
        raise ValueError(
            f"{source}: column {field.name} must be {field.dataType.simpleString()}, got {got.simpleString()}"
        )


def _cast(value: Column, got: DataType, contract: DataType) -> Column:
    """`value` in the contract's type, null if it cannot be cast; text is split into a list."""
    if isinstance(contract, ArrayType) and isinstance(got, StringType):
        value = F.when(value == "", F.array().cast("array<string>")).otherwise(F.split(value, f"\\{LIST_SEPARATOR}"))
    return value.try_cast(contract)
