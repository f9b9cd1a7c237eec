"""Checks of a table's day before it is committed: `sql/<table>/checks.sql`.

A checks file is one select over the day (`{rows}`). Each column is a check, named `#fail RULE` or `#warn RULE`; its
value is the number of violations.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

import sql
from jobs.lake.lake import Lake
from jobs.lake.queries import Materialized, materialized, query
from jobs.lake.tables import Table
from jobs.lake.writing import can_check_files
from model.training.processes.lines import warn

FAIL, WARN = "#fail ", "#warn "


class CheckFailed(ValueError):
    """A day violates a rule of its table; none of its rows was written."""


@dataclass(frozen=True)
class Finding:
    """A check that found violations."""

    level: str  # FAIL or WARN
    rule: str
    number: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.number:,.6g}"


def findings(rows: DataFrame, name: str, frames: dict[str, DataFrame] | None = None, **args: Any) -> list[Finding]:
    """The violations that `sql/NAME/checks.sql` finds in `rows`; `frames` and `args` are its other inputs."""
    row = query(rows.sparkSession, f"{name}/checks", {"rows": rows, **(frames or {})}, **args).first()
    assert row is not None  # an aggregate has one row
    checks = row.asDict()
    if unknown := [check for check in checks if not check.startswith((FAIL, WARN))]:
        raise TypeError(f"columns of sql/{name}/checks.sql must begin with {FAIL!r} or {WARN!r}, got {unknown}")
    # the sum of no rows is null: no violations
    return [Finding(check[: len(FAIL)], check[len(FAIL) :], float(n)) for check, n in checks.items() if n]


def raise_failures(table: Table, ds: dt.date, found: Sequence[Finding]) -> None:
    """Print the warnings. Raises CheckFailed that lists every violated rule."""
    for finding in found:
        if finding.level == WARN:
            warn(f"{table.name} of {ds}: {finding}")
    if failures := [str(finding) for finding in found if finding.level == FAIL]:
        raise CheckFailed(f"{table.name} of {ds} was not written: " + "; ".join(failures))


@contextmanager
def checked(
    table: Table, ds: dt.date, rows: DataFrame, frames: dict[str, DataFrame] | None = None, **args: Any
) -> Iterator[Materialized]:
    """`rows` with the column `ds`, computed once. Raises CheckFailed if they violate a rule of the table."""
    with materialized(rows.withColumn("ds", F.lit(ds))) as made:
        raise_failures(table, ds, findings(made.rows, table.name, frames, **args))
        yield made


def literal(text: str) -> str:
    """The text as a string of SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def is_balanced(text: str) -> bool:
    """Whether each parenthesis of an SQL text is closed in it, and opened before."""
    depth = 0
    for sign in re.sub("'[^']*'", "", text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0


@dataclass(frozen=True)
class RowRules:
    """The checks of a table that are made while its rows are written, because each is about a single row.

    violated: for each rule, the SQL condition of a row that violates it. warnings: for each `#warn` column of the
    checks file, its aggregate over the rows.
    """

    violated: dict[str, str]
    warnings: dict[str, str]

    @classmethod
    def of(cls, name: str) -> RowRules | None:
        """The checks in `sql/NAME/checks.sql`; None if one compares rows with each other or with other tables."""
        select = re.fullmatch(r"select\s+(.*\S)\s+from \{rows\}", sql.read(f"{name}/checks"), re.DOTALL)
        if select is None or re.search(r"\bdistinct\b|\bselect\b", select[1]):
            return None
        checks = {column: text for text, column in re.findall(r"(.*?)\s+as\s+`([^`]+)`,?\s*", select[1], re.DOTALL)}
        fails = {column: re.fullmatch(r"count_if\((.*)\)", checks[column], re.DOTALL) for column in checks}
        violated = {
            column.removeprefix(FAIL): found[1]
            for column, found in fails.items()
            if found and column.startswith(FAIL) and is_balanced(found[1])
        }
        warnings = {column: text for column, text in checks.items() if column.startswith(WARN)}
        return cls(violated, warnings) if len(violated) + len(warnings) == len(checks) else None

    def guarded(self, rows: DataFrame, column: str) -> DataFrame:
        """`rows`, in which the value of `column` is an error for a row that violates a rule."""
        value = column
        for rule, violated in self.violated.items():
            value = f"if({violated}, raise_error({literal(rule)}), {value})"
        # not in a filter, which could be pushed down to rows that the query leaves out
        return rows.withColumn(column, F.expr(value))


def overwrite_guarded(lake: Lake, table: Table, ds: dt.date, rows: DataFrame, rules: RowRules) -> int:
    """Check the rows while they are written, in one pass; returns their number.

    Raises CheckFailed, and commits nothing, if a row violates a rule.
    """
    rows = rows.withColumn("ds", F.lit(ds))
    observed = Observation()
    counted = [F.expr(text).alias(column) for column, text in rules.warnings.items()] or [F.count(F.lit(1))]
    try:
        written = lake.overwrite(table, ds, rules.guarded(rows, table.key[0]).observe(observed, *counted))
    except Exception as error:
        if "USER_RAISED_EXCEPTION" not in str(error):
            raise
        raise_failures(table, ds, findings(rows, table.name))  # counts the violations
        raise
    raise_failures(table, ds, [Finding(WARN, c[len(WARN) :], float(n)) for c, n in observed.get.items() if n])
    return written


def overwrite_checked(lake: Lake, table: Table, ds: dt.date, rows: DataFrame, **frames: DataFrame) -> int:
    """Like `Lake.overwrite`, after the table's checks; `frames` are further inputs of the checks.

    Rules about single rows are checked while they are written; others in the files, which are committed afterwards.
    Only if the files cannot be read by their names are the rows materialized before they are checked and written.
    """
    rules = RowRules.of(table.name)
    if rules is not None:
        return overwrite_guarded(lake, table, ds, rows, rules)
    if can_check_files(lake.table_path(table), lake.snapshot(table)):
        return lake.overwrite(
            table, ds, rows, lambda written: raise_failures(table, ds, findings(written, table.name, frames))
        )
    with checked(table, ds, rows, frames) as made:
        return lake.overwrite(table, ds, made.rows)
