"""Numbers formatted for people."""

from __future__ import annotations

import datetime as dt

NONE = "–"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return NONE if value is None else f"{value:,.0f}"


def decimal(value: float | None) -> str:
    """Three decimal places, as metrics are shown."""
    return NONE if value is None else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share of 1 in percent; a small share other than 0 is not shown as 0."""
    if not share:
        return NONE if share is None else "0 %"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"


def difference(value: float | None, before: float | None) -> str:
    """The difference of two metrics or shares; empty if one is missing."""
    if value is None or before is None:
        return ""
    return f"{value - before:+.3f}".replace("-", "−")


def growth(value: float | None, before: float | None) -> str:
    """The change of a count in percent of the earlier one; empty if one is missing."""
    if value is None or not before:
        return ""
    return f"{(value - before) / before * 100:+.1f} %".replace("-", "−")


def direction(value: float | None, before: float | None) -> str:
    """The tone of a difference as it is displayed: good if positive, bad if negative, muted if zero or missing."""
    if not (shown := difference(value, before)) or shown in ("+0.000", "−0.000"):
        return "muted"
    return "good" if shown.startswith("+") else "bad"


def duration(seconds: float | None) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(millis: int | None) -> str:
    """A UTC time to the second, from its epoch milliseconds."""
    return NONE if millis is None else f"{dt.datetime.fromtimestamp(millis / 1000, dt.UTC):%Y-%m-%d %H:%M:%S}"
