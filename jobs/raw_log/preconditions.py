"""Whether a day is fit to stand on: what stops it, and under which code."""

from __future__ import annotations

import datetime as dt

from jobs.lake import tables
from jobs.lake.partitions import Lake


class Stop(ValueError):
    """A day on which nothing may be trained or published; `code` names the reason for machines."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def require_impressions(lake: Lake, ds: dt.date) -> None:
    """Raises Stop `empty_day` where no impression landed on `ds`."""
    if lake.day(tables.IMPRESSIONS, ds).isEmpty():
        raise Stop("empty_day", f"no impression landed on {ds} in {lake.table_path(tables.IMPRESSIONS)}")


def require_days_before(lake: Lake, ds: dt.date, days: int) -> None:
    """Raises Stop `day_not_run` where a day has landed since the last that was run, of the `days` before `ds`.

    Histories are handed on from day to day: without it, its clicks would be in none. Item counts are built behind
    them. A day of which no impression landed cannot be run, and is passed over.
    """
    last = lake.latest_day_before(tables.DAILY_ITEM_COUNTS, ds, days)
    if last is None:
        return
    for number in range(1, (ds - last).days):
        day = last + dt.timedelta(days=number)
        if not lake.day(tables.IMPRESSIONS, day).isEmpty():
            raise Stop("day_not_run", f"{ds} builds on {day}, which has landed and was not run: run {day} first")


def require_ground(lake: Lake, ds: dt.date) -> None:
    """Raises Stop where the day's log cannot be what it should be: not reconciled, no click, one user, one item.

    The day's tables stay: what lands late may yet mend it.
    """
    row = lake.day(tables.RECONCILIATION, ds).first()
    if row is None:
        raise Stop("not_reconciled", f"{ds} was not reconciled: run build_reconciliation")
    for code, fault, what in (
        ("no_clicks", row.clicked == 0, "not one impression was clicked"),
        ("one_user", row.users < 2, "all impressions are of one user"),
        ("one_item", row.items < 2, "all impressions are of one item"),
    ):
        if fault:
            raise Stop(code, f"{ds} holds {row.interactions:,} interactions, and {what}; nothing is trained on it")
