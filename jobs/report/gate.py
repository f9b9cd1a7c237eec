"""The verdict of the gate on each rule."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.figures import NONE
from jobs.report.page import Cell, Grid, Missing, Section


def gate_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: each rule with its value and its bound, failed rules first."""
    verdicts = sorted(lake.rows(tables.GATE, ds), key=lambda row: (row.passed, row.rule))
    lead = "Rules that a day must pass before it is published. Their bounds are in [gate] of the configuration."
    if not verdicts:
        return Section("gate", "Gate", lead, [Missing(f"The gate was not run for {ds}.")])
    rows = [[Cell(row.rule, "code"), _verdict(row), _number(row.value), Cell(_bound(row), "muted")] for row in verdicts]
    return Section("gate", "Gate", lead, [Grid(["rule", "", "value", "bound"], rows, 2)])


def _verdict(row: Row) -> Cell:
    if row.value is None and row.passed:
        return Cell("not measured", "muted")
    return Cell("passed", "good") if row.passed else Cell("failed", "bad")


def _number(value: float | None) -> Cell:
    return Cell(NONE if value is None else f"{value:.4g}")


def _bound(row: Row) -> str:
    if row.min_value is not None:
        return f"at least {row.min_value:.4g}"
    return NONE if row.max_value is None else f"at most {row.max_value:.4g}"
