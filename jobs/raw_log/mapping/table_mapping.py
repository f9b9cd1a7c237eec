"""Maps a file to the columns of the data contract: one select, after lists are exploded and rows are filtered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, FractionalType, IntegralType, StringType, TimestampType

from jobs.config.mapping import Epoch, TableMapping
from jobs.lake.tables import IMPRESSIONS
from jobs.raw_log.contract import EVENT_TIMES, FAULT
from jobs.raw_log.files import CORRUPT_ROW, named
from jobs.raw_log.mapping.expressions import Expression, checked, is_unreadable, type_of
from jobs.raw_log.values import LAST_TIME, is_castable, is_missing, typed
from model.registry import did_you_mean

LIST_POSITION = "list_position"  # a row's position in the lists that were exploded, from 1
MICROSECONDS = {"s": Decimal(1_000_000), "ms": Decimal(1_000), "us": Decimal(1), "ns": Decimal("0.001")}
FIRST_EVENT = "1990-01-01"  # an earlier time of an event is a number in another unit
TEXTS = ArrayType(StringType())
IDENTITY = ("user_id", "item_id", "impressed_at", "request_id", "position")  # of an impression without an id


@dataclass(frozen=True)
class Prepared:
    """The rows that a mapping reads.

    reads: the columns that expressions have used. faults: why the mapping refuses rows: the values of FAULT, a column
    of `rows` where there are any. left_out: by condition, the rows that do not fulfil it.
    """

    rows: DataFrame
    reads: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    left_out: dict[str, DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Mapped(Prepared):
    """A file's rows with columns of the contract. origins: how each of these is obtained."""

    origins: dict[str, str] = field(default_factory=dict)

    def without(self, names: Sequence[str]) -> Mapped:
        origins = {name: origin for name, origin in self.origins.items() if name not in names}
        return replace(self, rows=self.rows.drop(*names), origins=origins)


def prepared(rows: DataFrame, mapping: TableMapping, key: str) -> Prepared:
    """The rows that a mapping reads: one per element of its lists, where its condition is true.

    key: of the mapping, for messages. Raises ValueError for an expression that cannot be used.
    """
    return selected(exploded(rows, mapping, key), mapping.where, f"{key}.where")


def mapped(
    prepared: Prepared,
    mapping: TableMapping,
    key: str,
    fields: Sequence[str],
    *,
    only_known: bool = False,
    refused_by: Collection[str] | None = None,
) -> Mapped:
    """Prepared rows with the mapped columns; one that is already called like one of `fields` is taken as it is.

    fields: the columns of the contract. Other columns of the file follow; only_known: only those that no expression
    reads. refused_by: the columns of which an unreadable value refuses a row; None: all. Raises ValueError for an
    expression that cannot be used, or a mapped column that the contract does not name.
    """
    if unknown := [name for name in mapping.columns if name not in fields]:
        known = f"it has {list(fields)}, and the declared features of users and items"
        raise ValueError(
            f"{key}.{unknown[0]}: the contract has no such column{did_you_mean(unknown[0], fields)}; {known}"
        )
    rows, reads = prepared.rows, prepared.reads
    faults = {fault: named(FAULT) == fault for fault in prepared.faults}
    origins, values = {}, []
    for name, value in mapping.columns.items():
        expression, found = _value(rows, f"{key}.{name}", name, value)
        values.append(expression.value.alias(name))
        origins[name] = expression.text
        reads |= {*expression.reads}
        if refused_by is None or name in refused_by:
            faults |= found
    taken = [name for name in fields if name in rows.columns and name not in origins]
    hidden = {*origins, *taken, FAULT, *(reads if only_known else ())}
    others = [named(name) for name in _others(rows, mapping, hidden)]
    if faults:
        reasons = (F.when(is_broken, F.lit(reason)) for reason, is_broken in faults.items())
        others.append(F.coalesce(*reasons).alias(FAULT))
    origins |= {name: name for name in taken}
    frame = rows.select(*values, *map(named, taken), *others)
    return Mapped(frame, reads, tuple(faults), prepared.left_out, origins)


def _others(rows: DataFrame, mapping: TableMapping, hidden: set[str]) -> list[str]:
    """The columns that follow those of the contract: all but the hidden ones, whose names differ in more than case."""
    if mapping.explode:  # each element would repeat the lists
        lists = [field.name for field in rows.schema if isinstance(field.dataType, ArrayType)]
        hidden = {*hidden, LIST_POSITION, *mapping.explode, *lists}
    lowered = {name.lower() for name in hidden}
    return [name for name in rows.columns if name.lower() not in lowered]


def with_impression_id(rows: Mapped) -> Mapped:
    """Give impressions an id made from what they show, in the contract's types: the same from whatever format."""
    if "impression_id" in rows.origins:
        return rows
    names = [name for name in IDENTITY if name in rows.origins]
    identity = F.sha2(F.to_json(F.struct(*(_part_of_id(rows.rows, name) for name in names))), 256)
    origins = {"impression_id": f"made from {', '.join(names)}", **rows.origins}
    return replace(rows, rows=rows.rows.withColumn("impression_id", identity), origins=origins)


def _part_of_id(rows: DataFrame, name: str) -> Column:
    got, contract = rows.schema[name].dataType, IMPRESSIONS.schema[name].dataType
    if not is_castable(got, contract):  # then the file is refused
        return F.lit(None).cast("string").alias(name)
    value = typed(named(name), got, contract)
    # not as a time, which JSON would cut to milliseconds
    return (F.unix_micros(value) if isinstance(contract, TimestampType) else value).alias(name)


def exploded(rows: DataFrame, mapping: TableMapping, key: str) -> Prepared:
    """One row per element of the lists of `mapping.explode`, which belong together: first with first, and so on.

    A text is a list as the contract reads one. A list that is missing is empty. A row without an element is left out;
    one that cannot be parsed, or of which a list cannot be read, stays as one row. Raises ValueError for a name that
    the file has, or an expression that is no list.
    """
    if not mapping.explode:
        return Prepared(rows)
    lists, stays, reads = {}, _is_corrupt(rows), frozenset[str]()
    for name, text in mapping.explode.items():
        if {name, LIST_POSITION} & {column.lower() for column in rows.columns}:
            raise ValueError(f"{key}.explode.{name}: {name} and {LIST_POSITION} must be new names, got {rows.columns}")
        expression = checked(rows, f"{key}.explode.{name}", text)
        kind = type_of(rows, f"{key}.explode.{name}", expression, (ArrayType, StringType), "a list")
        elements = expression.value if isinstance(kind, ArrayType) else typed(expression.value, kind, TEXTS)
        stays = stays | (elements.isNull() & expression.value.isNotNull())
        if expression.tries:
            stays = stays | is_unreadable(rows, expression)
        lists[name] = F.coalesce(elements, F.array().cast(kind if isinstance(kind, ArrayType) else TEXTS))
        reads |= {*expression.reads}
    together = F.when(~stays, F.arrays_zip(*lists.values()))
    spread = rows.select("*", F.posexplode_outer(together).alias("_position", "_element"), stays.alias("_stays"))
    inner = spread.schema["_element"].dataType.fieldNames()  # type: ignore[attr-defined]
    values = [F.col("_element").getField(field).alias(name) for field, name in zip(inner, lists, strict=True)]
    position = (F.col("_position") + 1).alias(LIST_POSITION)
    kept = spread.where(named("_position").isNotNull() | named("_stays"))
    return Prepared(kept.select(*map(named, rows.columns), *values, position), reads)


def selected(prepared: Prepared, condition: str, key: str, *, with_corrupt: bool = True) -> Prepared:
    """The rows for which `condition` is true, and those that cannot be parsed; all if it is empty.

    A row of which a condition cannot be read has a fault. Raises ValueError if it is not a condition.
    """
    if not condition:
        return prepared
    rows, is_corrupt, faults, is_broken = prepared.rows, _is_corrupt(prepared.rows), prepared.faults, F.lit(False)
    expression = checked(rows, key, condition)
    type_of(rows, key, expression, (BooleanType,), "a condition")
    if expression.tries:
        fault = expression.fault(key)
        is_broken = is_unreadable(rows, expression)
        earlier = [named(FAULT)] if faults else []
        rows = rows.withColumn(FAULT, F.coalesce(*earlier, F.when(is_broken, F.lit(fault))))
        faults = (*faults, fault)
    is_wanted = F.coalesce(expression.value, F.lit(False)) | is_broken
    left_out = rows.where(F.when(is_corrupt, F.lit(False)).otherwise(~is_wanted))
    return Prepared(
        rows.where(F.when(is_corrupt, F.lit(with_corrupt)).otherwise(is_wanted)),
        prepared.reads | {*expression.reads},
        faults,
        {**prepared.left_out, key: left_out},
    )


def _is_corrupt(rows: DataFrame) -> Column:
    return named(CORRUPT_ROW).isNotNull() if CORRUPT_ROW in rows.columns else F.lit(False)


def _value(rows: DataFrame, key: str, name: str, value: str | Epoch) -> tuple[Expression, dict[str, Column]]:
    """The expression of a column, and for each reason to refuse a row because of it: whether the row is refused."""
    if isinstance(value, Epoch):
        return _epoch(rows, key, name, value)
    expression = checked(rows, key, value)
    if not expression.tries:
        return expression, {}
    return expression, {expression.fault(name): is_unreadable(rows, expression)}


def _epoch(rows: DataFrame, key: str, name: str, epoch: Epoch) -> tuple[Expression, dict[str, Column]]:
    column = checked(rows, key, epoch.column)
    raw = column.value
    kind = type_of(rows, key, column, (StringType, IntegralType, FractionalType), "a number")
    # through text, because Spark casts the number 1.7e9 and the text "1700000000.5" to a decimal by different rules
    number = raw.cast("string").try_cast("decimal(28,9)")
    micros = F.floor(number * F.lit(MICROSECONDS[epoch.unit])).try_cast("bigint")
    time = F.timestamp_micros(micros)
    faults = {f"{name} is not a number of {epoch.unit}": micros.isNull() & ~is_missing(raw, kind, TimestampType())}
    is_late = time > F.lit(LAST_TIME).cast("timestamp")
    faults[f"{name} is after the year 9999: is the unit {epoch.unit} right?"] = is_late
    if name in EVENT_TIMES.values():
        is_early = time < F.lit(FIRST_EVENT).cast("timestamp")
        faults[f"{name} is before 1990: is the unit {epoch.unit} right?"] = is_early
    in_range = F.when(~is_late, time)
    return Expression(in_range, f"{epoch.column} in {epoch.unit} since 1970", column.reads), faults
