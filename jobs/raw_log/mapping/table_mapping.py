"""Maps a file to the columns of the data contract: one select, after lists are exploded and rows are filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, FractionalType, IntegralType, StringType

from jobs.config.mapping import Epoch, TableMapping
from jobs.raw_log.contract import FAULT
from jobs.raw_log.files import CORRUPT_ROW, named
from jobs.raw_log.mapping.expressions import Expression, checked, type_of
from jobs.raw_log.values import typed
from model.registry import did_you_mean

LIST_POSITION = "list_position"  # a row's position in the lists that were exploded, from 1
MICROSECONDS = {"s": Decimal(1_000_000), "ms": Decimal(1_000), "us": Decimal(1), "ns": Decimal("0.001")}
EVENT_TIMES = ("impressed_at", "clicked_at")
FIRST_EVENT = "1990-01-01"  # an earlier time of an event is a number in another unit
TEXTS = ArrayType(StringType())
IDENTITY = ("user_id", "item_id", "impressed_at", "request_id", "position")  # of an impression without an id


@dataclass(frozen=True)
class Mapped:
    """rows: a file's rows with columns of the contract.

    origins: how each column of the contract is obtained. faults: why the mapping refuses rows: the values of FAULT, a
    column of `rows` where there are any.
    """

    rows: DataFrame
    origins: dict[str, str]
    faults: tuple[str, ...] = ()

    def without(self, names: Sequence[str]) -> Mapped:
        origins = {name: origin for name, origin in self.origins.items() if name not in names}
        return replace(self, rows=self.rows.drop(*names), origins=origins)


def prepared(rows: DataFrame, mapping: TableMapping, key: str) -> DataFrame:
    """The rows that a mapping reads: one per element of its lists, where its condition is true.

    key: of the mapping, for messages. Raises ValueError for an expression that cannot be used.
    """
    return selected(exploded(rows, mapping, key), mapping.where, f"{key}.where")


def mapped(
    rows: DataFrame, mapping: TableMapping, key: str, fields: Sequence[str], *, only_known: bool = False
) -> Mapped:
    """Prepared rows with the mapped columns; one that is already called like one of `fields` is taken as it is.

    fields: the columns of the contract. Other columns of the file follow; only_known: only those that no expression
    reads. Raises ValueError for an expression that cannot be used, or a mapped column that the contract does not name.
    """
    if unknown := [name for name in mapping.columns if name not in fields]:
        known = f"it has {list(fields)}, and the declared features of users and items"
        raise ValueError(
            f"{key}.{unknown[0]}: the contract has no such column{did_you_mean(unknown[0], fields)}; {known}"
        )
    faults: dict[str, Column] = {}
    origins, values = {}, []
    for name, value in mapping.columns.items():
        expression, found = _value(rows, f"{key}.{name}", name, value)
        values.append(expression.value.alias(name))
        origins[name] = expression.text
        faults |= found
    taken = [name for name in fields if name in rows.columns and name not in origins]
    others = [named(name) for name in _others(rows, mapping, {*origins, *taken}, only_known=only_known)]
    if faults:
        reasons = (F.when(is_broken, F.lit(reason)) for reason, is_broken in faults.items())
        others.append(F.coalesce(*reasons).alias(FAULT))
    origins |= {name: name for name in taken}
    return Mapped(rows.select(*values, *map(named, taken), *others), origins, tuple(faults))


def _others(rows: DataFrame, mapping: TableMapping, known: set[str], *, only_known: bool) -> list[str]:
    """The columns that follow those of the contract, which are `known`; their names differ in more than case."""
    hidden = {*known}
    if mapping.explode:  # each element would repeat the lists
        lists = [field.name for field in rows.schema if isinstance(field.dataType, ArrayType)]
        hidden |= {LIST_POSITION, *mapping.explode, *lists}
    if only_known:
        hidden |= {name for name in rows.columns if mapping.reads(name)}
    lowered = {name.lower() for name in hidden}
    return [name for name in rows.columns if name.lower() not in lowered]


def with_impression_id(rows: Mapped) -> Mapped:
    """Give impressions an id made from what they show, so that it is the same whenever the file lands."""
    if "impression_id" in rows.origins:
        return rows
    names = [name for name in IDENTITY if name in rows.origins]
    identity = F.sha2(F.to_json(F.struct(*names)), 256)
    origins = {"impression_id": f"made from {', '.join(names)}", **rows.origins}
    return replace(rows, rows=rows.rows.withColumn("impression_id", identity), origins=origins)


def exploded(rows: DataFrame, mapping: TableMapping, key: str) -> DataFrame:
    """One row per element of the lists of `mapping.explode`, which belong together: first with first, and so on.

    A text is a list as the contract reads one. A row without an element is left out; one that cannot be parsed, or
    whose text is no list, stays. Raises ValueError for a name that the file has, or an expression that is no list.
    """
    if not mapping.explode:
        return rows
    lists, stays = {}, named(CORRUPT_ROW).isNotNull() if CORRUPT_ROW in rows.columns else F.lit(False)
    for name, text in mapping.explode.items():
        if {name, LIST_POSITION} & {column.lower() for column in rows.columns}:
            raise ValueError(f"{key}.explode.{name}: {name} and {LIST_POSITION} must be new names, got {rows.columns}")
        expression = checked(rows, f"{key}.explode.{name}", text)
        kind = type_of(rows, f"{key}.explode.{name}", expression, (ArrayType, StringType), "a list")
        lists[name] = expression.value if isinstance(kind, ArrayType) else typed(expression.value, kind, TEXTS)
        stays = stays | (lists[name].isNull() & expression.value.isNotNull())
    spread = rows.select("*", F.posexplode_outer(F.arrays_zip(*lists.values())).alias("_position", "_element"))
    inner = spread.schema["_element"].dataType.fieldNames()  # type: ignore[attr-defined]
    values = [F.col("_element").getField(field).alias(name) for field, name in zip(inner, lists, strict=True)]
    position = (F.col("_position") + 1).alias(LIST_POSITION)
    return spread.where(named("_position").isNotNull() | stays).select(*map(named, rows.columns), *values, position)


def selected(rows: DataFrame, condition: str, key: str, *, with_corrupt: bool = True) -> DataFrame:
    """The rows for which `condition` is true, and those that cannot be parsed; all if it is empty.

    Raises ValueError if it is not a condition.
    """
    if not condition:
        return rows
    expression = checked(rows, key, condition)
    type_of(rows, key, expression, (BooleanType,), "a condition")
    wanted = expression.value
    if CORRUPT_ROW in rows.columns:
        is_corrupt = named(CORRUPT_ROW).isNotNull()
        wanted = is_corrupt | wanted if with_corrupt else ~is_corrupt & wanted
    return rows.where(wanted)


def _value(rows: DataFrame, key: str, name: str, value: str | Epoch) -> tuple[Expression, dict[str, Column]]:
    """The expression of a column, and for each reason to refuse a row because of it: whether the row is refused."""
    if isinstance(value, Epoch):
        return _epoch(rows, key, name, value)
    expression = checked(rows, key, value)
    if not expression.tries:
        return expression, {}
    is_unreadable = expression.value.isNull()
    for column in expression.reads:
        is_unreadable = is_unreadable & named(column).isNotNull()
    return expression, {f"{name} cannot be computed from {', '.join(expression.reads)}": is_unreadable}


def _epoch(rows: DataFrame, key: str, name: str, epoch: Epoch) -> tuple[Expression, dict[str, Column]]:
    if epoch.column not in rows.columns:
        hint = did_you_mean(epoch.column, rows.columns)
        raise ValueError(f"{key}: there is no column {epoch.column!r}{hint}; the file has {rows.columns}")
    raw = named(epoch.column)
    column = Expression(raw, epoch.column, (epoch.column,))
    type_of(rows, key, column, (StringType, IntegralType, FractionalType), "a number")
    # through text, because Spark casts the number 1.7e9 and the text "1700000000.5" to a decimal by different rules
    number = raw.cast("string").try_cast("decimal(28,9)")
    micros = F.floor(number * F.lit(MICROSECONDS[epoch.unit])).try_cast("bigint")
    time = F.timestamp_micros(micros)
    faults = {f"{name} is not a number of {epoch.unit}": micros.isNull() & (raw.cast("string") != "")}
    if name in EVENT_TIMES:
        is_early = time < F.lit(FIRST_EVENT).cast("timestamp")
        faults[f"{name} is before 1990: is the unit {epoch.unit} right?"] = is_early
    return Expression(time, f"{epoch.column} in {epoch.unit} since 1970", (epoch.column,)), faults
