"""What a day made: the rows of its tables, when they were written, and where the rows of the log went."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.lake.tables import Table
from jobs.raw_log.encoding import union
from jobs.report.charts import share_chart
from jobs.report.figures import NONE, count, duration, growth, moment, percent
from jobs.report.page import Cell, Figure, Grid, Missing, Section

LOG = "What landed"


@dataclass(frozen=True)
class Made:
    """A table's day: its rows, those of the day before, and when its newest file was written (epoch milliseconds)."""

    rows: int
    before: int
    written: int | None


def stages(config: Config) -> dict[str, Sequence[tuple[Table, str]]]:
    """The tables in the order of the flow, each with what a row of it is."""
    return {
        LOG: [
            (tables.IMPRESSIONS, "an impression"), (tables.CLICKS, "a click"),
            (tables.users(config), "a user, new or changed"), (tables.items(config), "an item, new or changed"),
            (tables.QUARANTINE, "a row that was refused"),
        ],
        "What came of it": [
            (tables.INTERACTIONS, "an impression with its outcome"), (tables.RECONCILIATION, "a day of the log"),
            (tables.VOCABULARIES, "an id or category, new"), (tables.user_snapshot(config), "a user"),
            (tables.item_snapshot(config), "an item"), (tables.training_examples(config), "a click to learn from"),
            (tables.USER_HISTORIES, "a user who ever clicked"),
            (tables.DAILY_ITEM_COUNTS, "an item that the day shows"),
            (tables.WINDOW_ITEM_COUNTS, "an item of the training window"),
        ],
        "What is drawn as a negative": [
            (tables.UNCLICKED_ITEMS, "an item exposed and never clicked"), (tables.ITEM_SAMPLING_PROBS, "an item"),
            (tables.POPULAR_ITEMS, "an item of a segment of users"),
        ],
        "Model and lists": [
            (tables.MODEL_VERSIONS, "the day's model"), (tables.USER_EMBEDDINGS, "a user"),
            (tables.ITEM_EMBEDDINGS, "an item"), (tables.ITEM_INDEXES, "an index"),
            (tables.CANDIDATES, "a user's list"), (tables.EVALUATION, "a metric of these lists"),
            (tables.GATE, "a rule that judges them"), (tables.PUBLICATIONS, "a publication"),
        ],
    }  # fmt: skip


def made(lake: Lake, config: Config, ds: dt.date) -> dict[str, Made]:
    """By table what the day holds, of those that hold a row on it or on the day before."""
    listed = [table for stage in stages(config).values() for table, _ in stage]
    counted = [row_counts(lake, table, ds) for table in listed if lake.has(table)]
    if not counted:
        return {}
    rows = {(row.table, row.ds): row for row in union(counted).collect()}  # two a table
    found = {}
    for name in dict.fromkeys(name for name, _ in rows):
        today, before = rows.get((name, ds)), rows.get((name, ds - dt.timedelta(days=1)))
        found[name] = Made(today.rows if today else 0, before.rows if before else 0, today.written if today else None)
    return found


def row_counts(lake: Lake, table: Table, ds: dt.date) -> DataFrame:
    """Rows (table, ds, rows, written) of the day and the one before it."""
    written = F.col("_metadata.file_modification_time").alias("written")  # as Delta's log has it, not a copy's
    files = lake.read(table).select("ds", written)
    days = {"today": ds, "yesterday": ds - dt.timedelta(days=1)}
    return query(lake.spark, "report/row_counts", {"files": files}, table=table.name, **days)


def took(config: Config, found: Mapping[str, Made]) -> dict[str, float]:
    """By table the seconds since the one that was written before it; what landed is no step of the run."""
    landed = {table.name for table, _ in stages(config)[LOG]}
    steps = sorted((day.written, name) for name, day in found.items() if day.written and name not in landed)
    return {name: (end - begin) / 1000 for (begin, _), (end, name) in pairwise(steps)}


def flow_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """The tables of the day, stage by stage."""
    found = made(lake, config, ds)
    seconds = took(config, found)
    longest = max(seconds.values(), default=0.0)
    rows: list[list[Cell]] = []
    for stage, listed in stages(config).items():
        rows.append([Cell(stage, "heading")])
        rows += [
            _row(table.name, what, found.get(table.name), seconds.get(table.name), longest) for table, what in listed
        ]
    head = ["table", "a row is", "rows", "day before", "change", "written (UTC)", "since the one before"]
    note = (
        "Written: the newest file of the table's day. Since the one before: from the table that was written just "
        "before it, so what a job took, and the wait where one was run again."
    )
    return Section("flow", "The flow", "From the raw log to the lists, table by table.", [Grid(head, rows, 2, note)])


def _row(name: str, what: str, day: Made | None, seconds: float | None, longest: float) -> list[Cell]:
    if day is None or not day.rows:
        before = count(day.before) if day else NONE
        return [Cell(name, "code"), Cell(what, "muted"), Cell("none", "muted"), Cell(before), *[Cell("", "muted")] * 3]
    return [
        Cell(name, "code"),
        Cell(what, "muted"),
        Cell(count(day.rows)),
        Cell(count(day.before or None), "muted"),
        Cell(growth(day.rows, day.before), "muted"),
        Cell(moment(day.written), "muted"),
        Cell(duration(seconds), bar=seconds / longest if seconds and longest else None),
    ]


def log_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Where the day's impressions and clicks went."""
    row = lake.day(tables.RECONCILIATION, ds).first()
    lead = "Every row that landed is accounted for, or the day stops."
    if row is None:
        return Section("log", "Where the log went", lead, [Missing(f"reconciliation has no row for {ds}.")])
    fates = {
        "impressions": {"in interactions": row.interactions, "duplicate": row.duplicate_impressions,
                        "refused": row.refused_impressions},
        "clicks": {"matched": row.matched_clicks, "duplicate": row.duplicate_clicks, "late": row.late_clicks,
                   "early": row.early_clicks, "orphan": row.orphan_clicks, "refused": row.refused_clicks},
    }  # fmt: skip
    blocks = [_fates(what, counts) for what, counts in fates.items() if sum(counts.values())]
    return Section("log", "Where the log went", lead, blocks or [Missing("Nothing landed.")])


def _fates(what: str, counts: Mapping[str, int]) -> Figure:
    total = sum(counts.values())
    shares = {fate: number / total for fate, number in counts.items()}
    legend = [f"{fate} {count(number)}" for fate, number in counts.items()]
    title = f"{count(total)} {what}"
    return Figure(title, share_chart(title, [("", shares)], percent), legend)
