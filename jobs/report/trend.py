"""The page across days: recall, what the lists contain, volumes and the gate, each day with a link to its report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace

import polars as pl

from jobs.inference.evaluation import CANDIDATES, ORACLE, POPULARITY
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.report.charts import Labels
from jobs.report.curves import MIN_POINTS, curves
from jobs.report.figures import NONE, count, decimal
from jobs.report.page import Block, Cell, Grid, Headline, Missing, Section, render
from jobs.serving.verdicts import sentence_of

DAYS = 90  # that the page shows
METRICS = {"recall": "Recall", "ndcg": "NDCG"}
OF_LISTS = {"coverage": "item coverage", "never_clicked_share": "never clicked", "head_share": "head items"}
OF_LOG = ("impressions", "clicks")

Lines = Mapping[str, Sequence[tuple[dt.date, float]]]


def trend_page(lake: Lake, ds: dt.date) -> str:
    """The HTML of the page: the DAYS days up to `ds`. Depends only on the lake, and reads its small tables only."""
    reconciled = _days(lake, tables.RECONCILIATION, ds)
    gate = _days(lake, tables.GATE, ds)
    published = {row.ds for row in lake.rows(tables.PUBLICATIONS)}
    days = sorted({*reconciled["ds"], *gate["ds"]}, reverse=True)
    sections = [_quality(_days(lake, tables.EVALUATION, ds)), _lists(gate), _volumes(reconciled)]
    about = f"{len(days)} days with a log or a model, the newest first."
    shown = published.intersection(days)
    status, tone = (f"published up to {max(shown)}", "good") if shown else ("not published", "bad")
    head = Headline(
        str(ds), "", status, tone, about, kind="days up to", footer="All numbers are from the lake's tables."
    )
    return render(head, [], [*sections, _by_day(days, gate, reconciled, published)])


def last_day(lake: Lake, ds: dt.date) -> dt.date:
    """The newest day that was reconciled, or `ds` if it is later: a report of an old day does not cut the page off."""
    snapshot = lake.snapshot(tables.RECONCILIATION)
    newest = None if snapshot is None else snapshot.latest_day()
    return ds if newest is None else max(ds, newest)


def _days(lake: Lake, table: Table, ds: dt.date) -> pl.DataFrame:
    return lake.small_table(table, ds, days=DAYS)


def _quality(evaluation: pl.DataFrame) -> Section:
    every = evaluation.filter(pl.col("slice") == "all")
    figures: list[Block] = []
    for metric, name in METRICS.items():
        measured = every.filter(pl.col("metric") == metric)
        if measured.is_empty():
            continue
        k = max(measured["k"].to_list())
        rows = measured.filter(pl.col("k") == k)
        lines = {
            channel: list(rows.filter(pl.col("channel") == channel).select("ds", "value").sort("ds").iter_rows())
            for channel in (CANDIDATES, POPULARITY, ORACLE)
        }
        figures += _figure(f"{name}@{k}", lines, decimal)
    lead = "Of the lists of each day, evaluated on the clicks of later days."
    return Section("quality", "Quality of the lists", lead, figures or [Missing("No lists were evaluated yet.")])


def _lists(gate: pl.DataFrame) -> Section:
    lines = {
        label: list(
            gate.filter(pl.col("rule") == rule).drop_nulls("value").select("ds", "value").sort("ds").iter_rows()
        )
        for rule, label in OF_LISTS.items()
    }
    lead = "What the gate measured: the share of the available items in at least one list, and shares of all positions."
    return Section("lists", "Contents of the lists", lead, _figure("Shares", lines, decimal))


def _volumes(reconciled: pl.DataFrame) -> Section:
    figures = [
        block
        for name in OF_LOG
        for block in _figure(name, {name: list(reconciled.select("ds", name).sort("ds").iter_rows())}, count)
    ]
    return Section("volumes", "Volumes of the log", "Rows that landed, duplicates and refused rows included.", figures)


def _figure(title: str, lines: Lines, labels: Labels) -> list[Block]:
    """The lines that have MIN_POINTS days or more; if none has, the values as a table, or a message without any."""
    long = {name: line for name, line in lines.items() if len(line) >= MIN_POINTS}
    kept = long or {name: line for name, line in lines.items() if line}
    if not kept:
        return [Missing(f"{title}: no day has a value yet.")]
    first = min(day for line in kept.values() for day, _ in line)
    points = {name: [(float((day - first).days), float(value)) for day, value in line] for name, line in kept.items()}

    def day(number: float) -> str:
        return f"{first + dt.timedelta(days=int(number)):%m-%d}"

    return curves(title, "day", "", points, labels, day)


def _by_day(days: Iterable[dt.date], gate: pl.DataFrame, reconciled: pl.DataFrame, published: set[dt.date]) -> Section:
    logs = {row["ds"]: row for row in reconciled.iter_rows(named=True)}
    failed: dict[dt.date, list[str]] = {}
    for row in gate.sort("ds", "rule").iter_rows(named=True):
        failed.setdefault(row["ds"], []).extend([] if row["passed"] else [sentence_of(SimpleNamespace(**row))])
    rows = []
    for day in days:
        log = logs.get(day)
        rows.append(
            [
                Cell(str(day), href=f"../{day}/index.html" if day in published or day in failed else ""),
                _verdict(day in published, failed.get(day)),
                *(Cell(count(log[name]) if log else NONE) for name in (*OF_LOG, "clicked")),
            ]
        )
    lead = "A day with a gate leads to its report, which says what to do if a rule failed."
    head = ["day", "gate", "impressions", "clicks", "attributed clicks"]
    return Section("days", "Days", lead, [Grid(head, rows, 2) if rows else Missing("No day has a log or a gate.")])


def _verdict(is_published: bool, failed: Sequence[str] | None) -> Cell:
    """What became of a day. failed: what its gate found, None if the gate was not run."""
    if is_published:
        return Cell("published", "good")
    if failed is None:
        return Cell("tables only", "muted")
    return Cell(f"failed: {'; '.join(failed)}", "bad") if failed else Cell("passed, not published", "muted")
