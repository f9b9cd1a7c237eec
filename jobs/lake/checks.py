"""What must hold of a table's day before it is committed, and what is worth a warning: `sql/<table>/checks.sql`.

A checks file is one select over the day (`{rows}`): a column a check, named `#fail ...` or `#warn ...` after what is
wrong where its number is not 0.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.lake import Lake
from jobs.lake.queries import materialized, query
from jobs.lake.tables import Table

FAIL, WARN = "#fail ", "#warn "


class CheckFailed(ValueError):
    """A day breaks a rule of its table; nothing of it was written."""


@dataclass(frozen=True)
class Finding:
    """A check whose number is not 0."""

    level: str
    rule: str
    number: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.number:,.6g}"


def findings(rows: DataFrame, name: str, frames: dict[str, DataFrame] | None = None, **args: Any) -> list[Finding]:
    """What `sql/NAME/checks.sql` finds in `rows`; `frames` and `args` are what else it names."""
    found = query(rows.sparkSession, f"{name}/checks", {"rows": rows, **(frames or {})}, **args).first()
    assert found is not None  # it is an aggregate
    checks = found.asDict()
    if unknown := [check for check in checks if not check.startswith((FAIL, WARN))]:
        raise TypeError(f"sql/{name}/checks.sql: {unknown} begin with neither {FAIL}nor {WARN}")
    # an empty sum is null: there was nothing to be wrong
    return [Finding(check[: len(FAIL)], check[len(FAIL) :], float(n)) for check, n in checks.items() if n]


def require(table: Table, ds: dt.date, found: list[Finding]) -> None:
    """Print the warnings. Raises CheckFailed that lists every broken rule."""
    for finding in found:
        if finding.level == WARN:
            print(f"warning: {table.name} of {ds}: {finding}", flush=True)
    if broken := [str(finding) for finding in found if finding.level == FAIL]:
        raise CheckFailed(f"{table.name} of {ds} was not written: " + "; ".join(broken))


@contextmanager
def checked(
    table: Table, ds: dt.date, rows: DataFrame, frames: dict[str, DataFrame] | None = None, **args: Any
) -> Iterator[DataFrame]:
    """`rows` with their day, worked out once and kept; raises CheckFailed where they break the table's rules."""
    with materialized(rows.withColumn("ds", F.lit(ds))) as held:
        require(table, ds, findings(held, table.name, frames, **args))
        yield held


def overwrite_checked(lake: Lake, table: Table, ds: dt.date, rows: DataFrame, **frames: DataFrame) -> int:
    """Like `Lake.overwrite`, once the table's checks have found nothing that fails."""
    with checked(table, ds, rows, frames) as held:
        return lake.overwrite(table, ds, held)
