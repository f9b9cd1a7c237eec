"""The class Table (name, columns, key, partition column), and short names of the column types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

DATE, TIME, BOOLEAN, STRING = DateType(), TimestampType(), BooleanType(), StringType()
INT, LONG, FLOAT, DOUBLE = IntegerType(), LongType(), FloatType(), DoubleType()
INTS, FLOATS, STRINGS = ArrayType(INT), ArrayType(FLOAT), ArrayType(STRING)


class SchemaMismatch(ValueError):
    """The columns of rows or of a stored table are not the declared ones."""


@dataclass(frozen=True)
class Table:
    """A Delta table. `per_variant`: each variant of the model has its own table of this name.

    added: columns of the schema that a table of an older version may lack. They are null in its rows, and the next
    write of a day adds them. "column.field": a field of the structs in a column of arrays.
    ignored: columns that a stored table may have, and that are not read.
    ignores_texts: stored columns of text that are not declared are not read: titles that [report] no longer names.
    """

    name: str
    schema: StructType
    key: tuple[str, ...]
    partition: str = "ds"
    per_variant: bool = False
    added: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    ignores_texts: bool = False

    @property
    def columns(self) -> list[str]:
        return self.schema.fieldNames()

    def pick(self, *columns: str) -> StructType:
        """The schema of some of its columns."""
        return StructType([self.schema[name] for name in columns])


def struct(**columns: DataType) -> StructType:
    """A schema of nullable columns."""
    return StructType([StructField(name, kind) for name, kind in columns.items()])


def with_texts(schema: StructType, names: Iterable[str]) -> StructType:
    """The schema with further columns of text."""
    return StructType([*schema, *(StructField(name, STRING) for name in names)])


def readable(table: Table, stored: StructType) -> StructType:
    """The columns of a stored table as they are read: with added ones, and without texts that are not declared."""
    fields = [field for field in with_added(table, stored) if field.name not in table.ignored]
    if table.ignores_texts:
        fields = [field for field in fields if field.name in table.columns or field.dataType != STRING]
    return StructType(fields)


def with_added(table: Table, stored: StructType) -> StructType:
    """The columns of a stored table, and those of `table.added` that it lacks."""
    fields = {field.name: field for field in stored}
    for column, _, nested in (name.partition(".") for name in table.added):
        if nested and column in fields:
            fields[column] = _with_nested(fields[column], table.schema[column], nested)
        elif column not in fields:
            fields[column] = table.schema[column]
    return StructType([*fields.values()])


def _with_nested(stored: StructField, declared: StructField, name: str) -> StructField:
    """A column of arrays of structs with a further field, as declared; unchanged if it has the field."""
    assert isinstance(declared.dataType, ArrayType)
    assert isinstance(declared.dataType.elementType, StructType)
    found = stored.dataType.elementType if isinstance(stored.dataType, ArrayType) else None
    if not isinstance(found, StructType) or name in found.fieldNames():
        return stored
    return StructField(stored.name, ArrayType(StructType([*found, declared.dataType.elementType[name]])))


def check_schema(table: Table, got: StructType) -> None:
    """Raises SchemaMismatch that lists the missing, unexpected and retyped columns; ignores their order."""
    wanted, found = _types(table.schema), _types(got)
    faults = [f"missing {name} {kind}" for name, kind in wanted.items() if name not in found]
    faults += [f"unexpected {name}" for name in found if name not in wanted]
    faults += [
        f"{name} must be {kind}, got {found[name]}"
        for name, kind in wanted.items()
        if name in found and found[name] != kind
    ]
    if faults:
        raise SchemaMismatch(f"table {table.name}: " + "; ".join(faults))


def check_partition(table: Table, got: Sequence[str]) -> None:
    """Raises SchemaMismatch if a stored table is not partitioned by exactly the table's partition column."""
    if tuple(got) != (table.partition,):
        raise SchemaMismatch(f"table {table.name} must be partitioned by {table.partition}, got {list(got)}")


def _types(fields: Iterable[StructField]) -> dict[str, str]:
    """The type of each column by name; nullability is not part of it."""
    return {field.name: field.dataType.simpleString() for field in fields}
