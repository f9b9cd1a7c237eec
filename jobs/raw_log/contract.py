"""The contract of a log file (docs/data-contract.md): its columns, their types, and why a row is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    DecimalType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from jobs.lake.days import day_end, day_start
from jobs.lake.tables import CLICKS
from jobs.raw_log.files import CORRUPT_ROW, named, require_named
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.values import (
    FRACTIONS,
    has_missing_element,
    is_castable,
    is_fractional_id,
    is_list_or_object,
    is_missing,
    is_text,
    is_word_for_missing,
    typed,
)

OPTIONAL_COLUMNS = {"request_id", "position", "published_at", "available", "reward"}
IDS = {"impression_id", "request_id", "user_id", "item_id"}
REQUIRED_VALUES = {"impression_id", "user_id", "item_id", "impressed_at", "clicked_at"}  # never null or empty
EVENT_TIMES = {"impressions": "impressed_at", "clicks": "clicked_at"}  # by table
KEYS = {"users": "user_id", "items": "item_id"}  # tables of which one row a day counts, and what of
CLICKS_BY_IMPRESSION = CLICKS.pick("ds", "impression_id", "clicked_at", "reward")
CLICKS_BY_ITEM = CLICKS.pick("ds", "user_id", "item_id", "clicked_at", "reward")  # attributed, or a log of clicks only
CORRUPT = "row cannot be parsed"
INTERNAL = "batch_recall."  # prefix of columns beside those of the file, which must not have it
FAULT = INTERNAL + "fault"  # column: why a mapping refuses a row, null if it does not
TYPED = INTERNAL + "typed."  # prefix of a column that has the contract's type, beside the file's own column
REASON, GROUP, COPY = INTERNAL + "reason", INTERNAL + "group", INTERNAL + "copy"


def required_columns(schema: StructType) -> list[str]:
    """The columns that a file of this contract must have."""
    return [name for name in schema.fieldNames() if name != "ds" and name not in OPTIONAL_COLUMNS]


def require_columns(rows: DataFrame, schema: StructType, path: str, additional: str) -> None:
    """Raises ValueError if a required column is missing, or if `additional` is "refuse" and there is an unknown one.

    Also for a column that differs from an optional one only in case, whose values would be missing, and for a name
    that this program uses itself.
    """
    own = [name for name in rows.columns if name not in (CORRUPT_ROW, FAULT)]
    require_named(path, own, required_columns(schema))
    by_lower = {name.lower(): name for name in schema.fieldNames() if name != "ds"}
    for name in rows.columns:
        if (wanted := by_lower.get(name.lower(), name)) != name:
            raise ValueError(f"{path}: column {wanted} must be written so, got {name}; or map it (docs/your-log.md)")
        if name.startswith(INTERNAL) and name != FAULT:
            raise ValueError(f"{path}: names of columns must not begin with {INTERNAL}, got {name}")
    unknown = [name for name in rows.columns if name not in {*_kept(schema), FAULT}]
    if unknown and additional == "refuse":
        raise ValueError(f"{path} must only have columns of the contract (log.additional_columns), got {unknown}")


def _kept(schema: StructType) -> set[str]:
    """The columns of a file that a refused row keeps: those of the contract, and whose it is.

    A click that names an impression has no user_id in its table, but a refused one may have no impression either.
    """
    return {*schema.fieldNames(), CORRUPT_ROW, *(["user_id"] if "impression_id" in schema.names else [])}


def parse(
    rows: DataFrame,
    schema: StructType,
    table: str,
    source: str,
    ds: dt.date,
    *,
    first: dt.date | None = None,
    faults: Sequence[str] = (),
    texts: Collection[str] = (),
) -> ParsedFile:
    """Cast every column to the contract's type; each row that breaks the contract gets the first reason why.

    first: the day before which no event may be. faults: the values of the column FAULT. texts: columns that only people
    read, which may look like a list or a word for a missing value.
    Of several rows of one item or user, one counts: the greatest, column by column. The others get a reason.
    Raises ValueError if the type of a column can never be cast to that of the contract.
    """
    kinds = {column.name: column.dataType for column in rows.schema}
    contract = [column for column in schema if column.name != "ds"]
    given = [column for column in contract if column.name in kinds]
    for column in given:
        _require_castable(source, column, kinds[column.name])
    values = [typed(named(column.name), kinds[column.name], column.dataType) for column in given]
    rules = {CORRUPT: named(CORRUPT_ROW).isNotNull()} if CORRUPT_ROW in kinds else {}
    rules |= {fault: named(FAULT) == fault for fault in faults}
    for column in given:
        rules |= _rules(column, kinds[column.name], ds, first, is_free_text=column.name in texts)
    # each value is computed once, because the reasons and the result read the same column
    raw = [named(name) for name in rows.columns if name in _kept(schema)]
    of_mapping = [named(FAULT)] if faults else []
    read = rows.select(
        *raw, *of_mapping, *(value.alias(TYPED + at.name) for at, value in zip(given, values, strict=True))
    )
    reason = F.coalesce(F.lit(None).cast("string"), *(F.when(broken, F.lit(why)) for why, broken in rules.items()))
    read = read.withColumn(REASON, reason)
    if (key := KEYS.get(table)) is not None:
        read = _with_one_row_of_each(read, key, given, f"another row of this {key} was used")
    text = F.when(named(REASON).isNotNull(), F.to_json(F.struct(*raw))).alias("row")
    columns = [_value(column, given=column in given).alias(column.name) for column in contract]
    parsed = read.select(F.lit(ds).alias("ds"), *columns, named(REASON).alias("reason"), text)
    names = ["ds", *(column.name for column in contract)]
    categories = [column.name for column in contract if table in KEYS and is_text(column.dataType)]
    return ParsedFile(parsed, table, source, names, tuple(name for name in categories if name not in {*IDS, *texts}))


def _value(column: StructField, *, given: bool) -> Column:
    """The contract's value of a column: an item is available if nothing else is said; the rest may be null."""
    value = named(TYPED + column.name) if given else F.lit(None).cast(column.dataType)
    return F.coalesce(value, F.lit(True)) if column.name == "available" else value


def _with_one_row_of_each(rows: DataFrame, key: str, given: Sequence[StructField], repeated: str) -> DataFrame:
    """`rows`, in which all rows of a key but the greatest have the reason `repeated`, unless they have another one."""
    is_sound = named(REASON).isNull()
    own_group = F.monotonically_increasing_id().cast("string")  # refused rows may have no key
    rows = rows.withColumn(GROUP, F.when(is_sound, named(TYPED + key)).otherwise(own_group))
    greatest_first = [named(TYPED + column.name).desc_nulls_last() for column in given]
    in_group = Window.partitionBy(named(GROUP)).orderBy(named(REASON).asc_nulls_first(), *greatest_first)
    is_repeated = is_sound & (named(COPY) > 1)
    rows = rows.withColumn(COPY, F.row_number().over(in_group))
    return rows.withColumn(REASON, F.when(is_repeated, F.lit(repeated)).otherwise(named(REASON)))


def _rules(
    column: StructField, got: DataType, ds: dt.date, first: dt.date | None, *, is_free_text: bool
) -> dict[str, Column]:
    """For each reason to refuse a row because of this column: whether the row breaks the rule. got: the file's type."""
    raw, value, name = named(column.name), named(TYPED + column.name), column.name
    contract = column.dataType
    missing, rules = is_missing(raw, got, contract), {}
    if name in REQUIRED_VALUES:
        rules[f"{name} is missing"] = missing
    rules[f"{name} is not of type {contract.simpleString()}"] = ~missing & value.isNull()
    if isinstance(contract, ArrayType):
        element = contract.elementType.simpleString()
        rules[f"{name} has an element that is missing or not of type {element}"] = has_missing_element(value)
        if is_text(contract):
            rules[f"{name} has an element that is a list or an object"] = F.exists(value, is_list_or_object)
    elif is_text(contract) and is_text(got) and not is_free_text:
        rules[f"{name} is a list or an object, not one value"] = is_list_or_object(raw)
    if name in IDS and isinstance(got, StringType):
        rules[f"{name} is a word for a missing value, such as nan"] = is_word_for_missing(raw)
    if name in IDS and isinstance(got, StringType | DecimalType):
        rules[f"{name} is a whole number with a fraction, such as 12.0"] = is_fractional_id(value)
    if name in EVENT_TIMES.values():
        rules[f"{name} is after the day on which it landed"] = value >= F.lit(day_end(ds))
        if first is not None:
            rules[f"{name} is before the first day that lands"] = value < F.lit(day_start(first))
    if name == "reward":
        is_valid = (value >= 0) & (value < F.lit(float("inf")))  # Spark orders NaN after infinity
        rules[f"{name} is negative or not finite"] = ~is_valid
    return rules


def _require_castable(source: str, column: StructField, got: DataType) -> None:
    """Raises ValueError if no value of the file's type can be read as the type of the contract."""
    if not is_castable(got, column.dataType):
        wanted, found = column.dataType.simpleString(), got.simpleString()
        hint = "; write whole numbers or text" if column.name in IDS and isinstance(got, FRACTIONS) else ""
        if isinstance(column.dataType, TimestampType) and isinstance(got, NumericType):
            hint = f'; map it, with the unit that it has: {column.name} = {{ column = "{column.name}", unit = "s" }}'
        if isinstance(got, BinaryType):
            hint = f'; map it: {column.name} = "cast({column.name} as string)" for text, or "hex({column.name})"'
        raise ValueError(f"{source}: column {column.name} must be {wanted}, got {found}{hint}")
