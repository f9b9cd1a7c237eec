"""Checks an expression of a mapping against the columns of its file, before it is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DataType

from jobs.raw_log.files import CORRUPT_ROW, named
from jobs.raw_log.mapping.catalyst import SPECIAL_TIMES, class_name, is_current, nodes
from jobs.raw_log.mapping.comparisons import with_numbers
from jobs.raw_log.values import is_missing
from model.registry import did_you_mean

CURRENT = re.compile(rf"\b(timestamp|timestamp_ltz|timestamp_ntz|date)\s*['\"]\s*{SPECIAL_TIMES}", re.I)
TRIES = re.compile(r"\b(try_\w+|from_json)\s*\(", re.I)  # functions that give null for what they cannot read
REPEATABLE = "must give the same value whenever a day is landed again"


@dataclass(frozen=True)
class Expression:
    """An expression over a file's columns. text: as it is evaluated; reads: the columns of the file that it uses."""

    value: Column
    text: str
    reads: tuple[str, ...]

    @property
    def tries(self) -> bool:
        """Whether a null can mean that a value could not be read."""
        return TRIES.search(self.text) is not None

    def fault(self, name: str) -> str:
        """Why a row is refused of which this expression, the value of `name`, cannot be read."""
        return f"{name} cannot be computed from {', '.join(self.reads)}"


def checked(rows: DataFrame, key: str, text: str) -> Expression:
    """`text`, the name of a column of `rows` or an expression of Spark SQL, which must give one value per row.

    key: the key of the mapping, for messages. The value of an expression is null in a row that cannot be parsed.
    Raises ValueError for anything that Spark cannot analyse, and for aggregates, windows, subqueries, generators, and
    values that differ from run to run.
    """
    if text in rows.columns:
        return Expression(named(text), text, (text,))
    found = _analysed(rows, key, text)
    _require_repeatable(key, text, found)
    text = with_numbers(key, text, found, partial(_analysed, rows, key))
    value = F.expr(text)
    if CORRUPT_ROW in rows.columns:  # whose cells may be shifted: an expression could fail on them
        value = F.when(named(CORRUPT_ROW).isNull(), value)
    return Expression(value, text, _columns(rows, found))


def is_unreadable(rows: DataFrame, expression: Expression) -> Column:
    """Whether an expression that tries is null though no column that it reads is missing."""
    kinds = {field.name: field.dataType for field in rows.schema}
    given = (~is_missing(named(name), kinds[name]) for name in expression.reads)
    return reduce(Column.__and__, given, expression.value.isNull())


def type_of(rows: DataFrame, key: str, expression: Expression, kinds: tuple[type, ...], wanted: str) -> DataType:
    """The type of an expression. Raises ValueError if it is none of `kinds`."""
    got = rows.select(expression.value.alias("value")).schema["value"].dataType
    if not isinstance(got, kinds):
        hint = f"; boolean({expression.text}) reads 1, true or yes" if BooleanType in kinds else ""
        raise ValueError(f"{key} must be {wanted}, got {got.simpleString()}: {expression.text!r}{hint}")
    return got


@contextmanager
def evaluated_in(spark: SparkSession, time_zone: str) -> Iterator[None]:
    """Expressions that are analysed in this block read times without an offset in `time_zone`, also when they run.

    Java's rule holds where clocks change: a time that is skipped moves forward by the hour that is missing, and one
    that happens twice is the first. A value that cannot be cast is an error, not null. Raises ValueError for a zone
    that does not exist.
    """
    settings = {"spark.sql.session.timeZone": time_zone, "spark.sql.ansi.enabled": "true"}
    before = {name: spark.conf.get(name) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
    except Exception as error:
        raise ValueError(
            f"mapping.time_zone must be the name of a time zone, as in Europe/Copenhagen, got {time_zone!r}"
        ) from error
    try:
        yield
    finally:
        for name, old in before.items():
            spark.conf.set(name, str(old))


@contextmanager
def expression_errors() -> Iterator[None]:
    """Turn an error of Spark on a value, inside an expression of a mapping, into a ValueError of one line."""
    try:
        yield
    except PySparkException as error:
        first, _, context = str(error).partition("== SQL")
        if not context:
            raise
        expression = context.splitlines()[1].strip()
        raise ValueError(f"mapping: the expression {expression!r} fails: {_line(first)}") from error


def own_columns(rows: DataFrame) -> list[str]:
    """The columns that a file has itself."""
    return [name for name in rows.columns if name != CORRUPT_ROW]


def _analysed(rows: DataFrame, key: str, text: str) -> Any:
    """The analysed expression of the JVM."""
    if CURRENT.search(text):
        raise ValueError(f"{key} {REPEATABLE}, got {text!r}")
    try:
        plan = rows.select(F.expr(text).alias("value"))._jdf.queryExecution().analyzed()
    except (AnalysisException, ParseException) as error:
        raise ValueError(_message(rows, key, text, error)) from error
    is_per_row = class_name(plan) == "Project" and plan.child().sameResult(rows._jdf.queryExecution().analyzed())
    analysed = plan.expressions().apply(0)
    subqueries = rows.sparkSession._jvm.org.apache.spark.sql.catalyst.expressions.SubqueryExpression  # type: ignore[union-attr]
    if not is_per_row or subqueries.hasSubquery(analysed):
        raise ValueError(
            f"{key} must give one value per row, without aggregates, windows, subqueries or explode, got {text!r}"
        )
    return analysed


def _message(rows: DataFrame, key: str, text: str, error: AnalysisException | ParseException) -> str:
    parameters, columns = error.getMessageParameters() or {}, own_columns(rows)
    if (error.getCondition() or "").startswith("UNRESOLVED_COLUMN"):
        name = parameters.get("objectName", text).replace("`", "")
        same = [column for column in columns if column.strip() == name.strip()]  # not plain, or the name has blanks
        hint = f"; did you mean `{same[0]}`?" if same else did_you_mean(name, columns)
        return f"{key}: there is no column {name!r}{hint}; the file has {columns}"
    if error.getCondition() == "UNRESOLVED_ROUTINE":
        return f"{key}: Spark SQL has no function {parameters.get('routineName', text)}, got {text!r}"
    if error.getCondition() == "INVALID_EXTRACT_BASE_FIELD_TYPE":
        base = str(parameters.get("base", text)).strip('"')
        how = f"get_json_object({base}, '$.name') reads a field where it is an object"
        return f"{key}: {base} is a text in some rows of the file, which has no fields: {how}, got {text!r}"
    return f"{key} must be a column or an expression of Spark SQL, got {text!r}: {_line(str(error))}"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _require_repeatable(key: str, text: str, expression: Any) -> None:
    if any(map(is_current, nodes(expression))) or not expression.deterministic():
        raise ValueError(f"{key} {REPEATABLE}, got {text!r}")


def _columns(rows: DataFrame, expression: Any) -> tuple[str, ...]:
    """The columns of `rows` that an analysed expression reads, as they are called there."""
    names = {name.lower(): name for name in rows.columns}
    read = (node.name().lower() for node in nodes(expression) if class_name(node) == "AttributeReference")
    return tuple(dict.fromkeys(names[name] for name in read))
