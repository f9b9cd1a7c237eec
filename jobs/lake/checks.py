"""Checks of a table's day before it is committed: `sql/<table>/checks.sql`.

A checks file is one select over the day (`{rows}`). Each column is a check, named `#fail RULE` or `#warn RULE`; its
value is the number of violations.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.lake import Lake
from jobs.lake.queries import Materialized, materialized, query
from jobs.lake.tables import Table

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
            print(f"warning: {table.name} of {ds}: {finding}", flush=True)
    if failures := [str(finding) for finding in found if finding.level == FAIL]:
        raise CheckFailed(f"{table.name} of {ds} was not written: " + "; ".join(failures))


@contextmanager
def checked(
    table: Table, ds: dt.date, rows: DataFrame, frames: dict[str, DataFrame] | None = None, **args: Any
) -> Iterator[Materialized]:
    """`rows` with the column `ds`, computed once. Raises CheckFailed if they violate a rule of the table."""
    with materialized(rows.withColumn("ds", F.lit(ds))) as of_day:
        raise_failures(table, ds, findings(of_day.rows, table.name, frames, **args))
        yield of_day


def overwrite_checked(lake: Lake, table: Table, ds: dt.date, rows: DataFrame, **frames: DataFrame) -> int:
    """Like `Lake.overwrite`, after the table's checks; `frames` are further inputs of the checks."""
    with checked(table, ds, rows, frames) as of_day:
        return lake.overwrite(table, ds, of_day.rows)
