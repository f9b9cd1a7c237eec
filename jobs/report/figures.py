"""Numbers as a person reads them."""

from __future__ import annotations

import datetime as dt

NONE = "–"


def count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def decimal(value: float | None) -> str:
    """Three places, as metrics are told."""
    return NONE if value is None else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share of 1; one that is there is not told as 0."""
    if not share:
        return NONE if share is None else "0 %"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.1f} %" if share < 0.1 else f"{share * 100:.0f} %"


def difference(value: float | None, before: float | None) -> str:
    """Of two metrics or shares; empty where one is missing."""
    if value is None or before is None:
        return ""
    return f"{value - before:+.3f}".replace("-", "−")


def growth(value: float | None, before: float | None) -> str:
    """Of two counts, in percent of the earlier one; empty where one is missing."""
    if value is None or not before:
        return ""
    return f"{(value - before) / before * 100:+.1f} %".replace("-", "−")


def direction(value: float | None, before: float | None) -> str:
    """good where a difference that shows is upwards, bad where it is downwards; muted where there is none."""
    if not (told := difference(value, before)) or told in ("+0.000", "−0.000"):
        return "muted"
    return "good" if told.startswith("+") else "bad"


def duration(seconds: float | None) -> str:
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
