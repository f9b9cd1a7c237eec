"""Logical days: UTC dates that partition the tables."""

from __future__ import annotations

import datetime as dt


def day_start(ds: dt.date) -> dt.datetime:
    """The first moment of the logical day, in UTC."""
    return dt.datetime.combine(ds, dt.time(), dt.UTC)


def day_end(ds: dt.date) -> dt.datetime:
    """The first moment after the logical day, in UTC."""
    return day_start(ds + dt.timedelta(days=1))


def epoch_day(ds: dt.date) -> int:
    """The logical day as the number of days since 1970-01-01."""
    return (ds - dt.date(1970, 1, 1)).days


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """All days from `first` to `last`, both included; empty if `last` is before `first`."""
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
