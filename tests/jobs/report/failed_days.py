"""The pages of a day that failed rules of the gate, made without a lake: its steps, its gate, its row among the days."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from jobs.config.loading import Config
from jobs.lake.lake import Lake
from jobs.report.next_steps import NEXT, steps_of
from jobs.report.page import Headline, render
from jobs.report.sections.gate import gate_section
from jobs.report.trend import _by_day

DAY = dt.date(2026, 1, 31)
FEW = {"clicks": 120, "interval_low": 0.1234, "interval_high": 0.3456}  # the value is above its bound


def failed_report(config: Config) -> str:
    """The top of the report and the section of the gate, with every rule failed."""
    rows = _rows()
    lake = cast(Lake, SimpleNamespace(rows=lambda table, ds: rows))
    head = Headline(str(DAY), "a-model", "not published", "bad", "Nothing is published yet.", steps=steps_of(rows, DAY))
    return render(head, [], [gate_section(lake, config, DAY)])


def overtaken_report(config: Config) -> str:
    """The top of the report of the same day after a later day was published."""
    steps = steps_of(_rows(), DAY, DAY + dt.timedelta(days=1))
    head = Headline(str(DAY), "a-model", "not published", "bad", "Readers follow publication 1.", steps=steps)
    return render(head, [], [])


def failed_days() -> str:
    """The table of the days: one that failed, between two that did not."""
    gate = pl.DataFrame([vars(row) for row in _rows()], infer_schema_length=None)
    counts = dict.fromkeys(("impressions", "clicks", "clicked"), 123_456)
    days = [DAY + dt.timedelta(days=number) for number in (1, 0, -1)]
    section = _by_day(days, gate, pl.DataFrame([{"ds": day} | counts for day in days]), {days[0], days[2]})
    return render(Headline(str(DAY), "", "published", "good", "3 days.", kind="days up to"), [], [section])


def _rows() -> list[Any]:
    """A failed row of the table gate for each rule."""
    whole = {"ds": DAY, "passed": False, "value": 0.2345, "min_value": 0.2222, "max_value": None}
    none = dict.fromkeys(FEW)
    return [SimpleNamespace(rule=rule, **whole, **(FEW if "recall" in rule else none)) for rule in sorted(NEXT)]
