"""The verdict of the gate on each rule."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.figures import NONE, count
from jobs.report.page import Cell, Grid, Missing, Section
from jobs.serving.verdicts import noise_of


def gate_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: each rule with its value and its bound, failed rules first."""
    verdicts = sorted(lake.rows(tables.GATE, ds), key=lambda row: (row.passed, row.rule))
    lead = "Rules that a day must pass before it is published. Their bounds are in [gate] of the configuration."
    if not verdicts:
        return Section("gate", "Gate", lead, [Missing(f"The gate was not run for {ds}.")])
    rows = [
        [
            Cell(row.rule, "code"),
            _verdict(row, config.gate.min_validation_clicks),
            _number(row.value),
            Cell(_bound(row), "muted"),
            Cell(count(row.clicks)),
            Cell(_interval(row)),
        ]
        for row in verdicts
    ]
    note = (
        "Recall is measured on clicks, and as exact as their number allows: see its interval. Coverage and shares are "
        "of the lists of all users."
    )
    head = ["rule", "verdict", "value", "bound", "clicks", "95 % interval"]
    return Section("gate", "Gate", lead, [Grid(head, rows, 2, note)])


def _verdict(row: Row, min_clicks: int) -> Cell:
    if row.value is None and row.passed:
        return Cell("not measured", "muted")
    noise = noise_of(row)
    text = "passed" if row.passed else "failed"
    if noise is not None and noise.has_inside(row.min_value) and row.clicks < min_clicks:
        text += ", too few clicks to decide"
    return Cell(text, "good" if row.passed else "bad")


def _interval(row: Row) -> str:
    return NONE if row.interval_low is None else f"{row.interval_low:.4g} to {row.interval_high:.4g}"


def _number(value: float | None) -> Cell:
    return Cell(NONE if value is None else f"{value:.4g}")


def _bound(row: Row) -> str:
    if row.min_value is not None:
        return f"at least {row.min_value:.4g}"
    return NONE if row.max_value is None else f"at most {row.max_value:.4g}"
