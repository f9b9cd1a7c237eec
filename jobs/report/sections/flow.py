"""The flow of a day: the rows of each table, when they were written, and what became of the rows of the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.snapshots import Snapshot, read_batches
from jobs.lake.tables import Table
from jobs.lake.tables.writers import WRITERS
from jobs.raw_log.feature_values import warnings_of_day
from jobs.report.charts import share_chart, value_chart
from jobs.report.figures import NONE, count, duration, growth, moment, percent
from jobs.report.page import Block, Cell, Figure, Grid, Missing, Section

LOG = "Raw log"


@dataclass(frozen=True)
class TableDay:
    """A table on a day: its rows, its rows on the day before, and when its newest file was written (epoch ms)."""

    rows: int
    before: int
    written: int | None


def table_groups(config: Config) -> dict[str, Sequence[tuple[Table, str]]]:
    """The tables in named groups, in the order of the flow, each with a description of one row."""
    return {
        LOG: [
            (tables.IMPRESSIONS, "an impression"), (tables.CLICKS, "a click"),
            (tables.users(config), "a user, new or changed"), (tables.items(config), "an item, new or changed"),
            (tables.QUARANTINE, "a refused row"),
        ],
        "Tables built from it": [
            (tables.INTERACTIONS, "an impression with its outcome"), (tables.RECONCILIATION, "a day of the log"),
            (tables.VOCABULARIES, "a new id or category"), (tables.user_snapshot(config), "a user"),
            (tables.item_snapshot(config), "an item"), (tables.item_changes(config), "an item before it changed"),
            (tables.training_examples(config), "a click to train on"),
            (tables.USER_HISTORIES, "a user with at least one click"),
            (tables.DAILY_ITEM_PAIRS, "a pair of items clicked by one user"),
            (tables.DAILY_ITEM_COUNTS, "an item of the day"),
            (tables.WINDOW_ITEM_COUNTS, "an item of the training window"),
        ],
        "Negatives": [
            (tables.UNCLICKED_ITEMS, "an item exposed and never clicked"), (tables.ITEM_SAMPLING_PROBS, "an item"),
            (tables.ITEM_NEIGHBOURS, "an item with neighbours"),
            (tables.POPULAR_ITEMS, "an item of a segment of users"),
        ],
        "Model and lists": [
            (tables.MODEL_VERSIONS, "the day's model"), (tables.USER_EMBEDDINGS, "a user"),
            (tables.ITEM_EMBEDDINGS, "an item"), (tables.ITEM_INDEXES, "an index"),
            (tables.CANDIDATES, "a user's list"), (tables.EVALUATION, "a metric of these lists"),
            (tables.GATE, "a rule of the gate"), (tables.PUBLICATIONS, "a publication"),
        ],
    }  # fmt: skip


def table_days(lake: Lake, config: Config, ds: dt.date) -> dict[str, TableDay]:
    """For each table with rows on the day or the day before: its rows of both days, from the table's log."""
    listed = [table for group in table_groups(config).values() for table, _ in group]
    found = {table.name: of_days for table in listed if (of_days := _table_day(lake, table, ds)) is not None}
    return {name: day for name, day in found.items() if day.rows or day.before}


def _table_day(lake: Lake, table: Table, ds: dt.date) -> TableDay | None:
    snapshot = lake.snapshot(table)
    if snapshot is None:
        return None
    (today, written), (before, _) = (_day_of(lake, table, snapshot, day) for day in (ds, ds - dt.timedelta(days=1)))
    return TableDay(today, before, written)


def _day_of(lake: Lake, table: Table, snapshot: Snapshot, ds: dt.date) -> tuple[int, int | None]:
    """(rows, when the newest file was written) of a day. Only files that may also have other days are read."""
    files = snapshot.with_day(ds)
    mixed = replace(files, files=files.files.filter(pl.col("first_ds") != pl.col("last_ds")))
    rows = files.rows - mixed.rows
    if mixed.rows and mixed.is_readable_without_spark:
        rows += sum(int((batch["ds"] == ds).sum()) for batch in read_batches(mixed, ["ds"]))
    elif mixed.rows:
        rows = lake.read(table).where(F.col("ds") == F.lit(ds)).count()
    written = files.files["modified"].max() if rows else None
    return rows, written  # type: ignore[return-value]  # a number, as the column


def seconds_by_table(config: Config, found: Mapping[str, TableDay]) -> dict[str, float]:
    """For each built table, the seconds since the previous table was written.

    Raw tables are left out, and the evaluation, which the run of a later day writes.
    """
    other = {*(table.name for table, _ in table_groups(config)[LOG]), tables.EVALUATION.name}
    steps = sorted((day.written, name) for name, day in found.items() if day.written and name not in other)
    return {name: (end - begin) / 1000 for (begin, _), (end, name) in pairwise(steps)}


def flow_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: the tables of the day, in groups."""
    found = table_days(lake, config, ds)
    seconds = seconds_by_table(config, found)
    rows: list[list[Cell]] = []
    for group, listed in table_groups(config).items():
        rows.append([Cell(group, "heading")])
        rows += [_row(table.name, what, found.get(table.name), seconds.get(table.name)) for table, what in listed]
    head = ["table", "a row is", "rows", "day before", "change", "written (UTC)", "since previous"]
    note = (
        "Written: when the newest file of the table's day was written. Since previous: the time since the previously "
        "written table, that is how long the job took, including any pause before a job that was run again."
    )
    blocks: list[Block] = [*_warnings(lake, ds), Grid(head, rows, 2, note), *_times(seconds)]
    return Section("flow", "Flow", "The tables of the day, from the raw log to the lists.", blocks)


def seconds_by_job(seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds of `seconds_by_table`, added up by the job that writes the tables, in the same order."""
    jobs: dict[str, float] = {}
    for table, spent in seconds.items():
        jobs[WRITERS[table]] = jobs.get(WRITERS[table], 0.0) + spent
    return jobs


def _times(seconds: Mapping[str, float]) -> list[Figure]:
    """A bar per job with the time between the tables before it and its own, if there are any."""
    if not seconds:
        return []
    title = "Time between tables, by job"
    note = (
        "From the previously written table to the last table of the job, in the order of the run. Pauses, and jobs "
        "that write no table, are part of the next bar. The evaluation is left out: the run of a later day makes it."
    )
    return [Figure(title, value_chart(title, list(seconds_by_job(seconds).items()), duration), note=note)]


def _warnings(lake: Lake, ds: dt.date) -> list[Grid]:
    """The warnings of the day's features, if there are any."""
    lines = warnings_of_day(lake, ds)
    return [Grid(["warnings of the features"], [[Cell(line, "bad")] for line in lines])] if lines else []


def _row(name: str, what: str, day: TableDay | None, seconds: float | None) -> list[Cell]:
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
        Cell(duration(seconds)),
    ]


def log_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: what became of the impressions and clicks that landed on the day."""
    row = next(iter(lake.rows(tables.RECONCILIATION, ds)), None)
    lead = "Each row that landed is counted exactly once; otherwise the day stops."
    if row is None:
        return Section("log", "Reconciliation of the log", lead, [Missing(f"reconciliation has no row for {ds}.")])
    outcomes = {
        "impressions": {"in interactions": row.interactions, "duplicate": row.duplicate_impressions,
                        "refused": row.refused_impressions},
        "clicks": {"matched": row.matched_clicks, "duplicate": row.duplicate_clicks, "late": row.late_clicks,
                   "early": row.early_clicks, "orphan": row.orphan_clicks, "refused": row.refused_clicks},
    }  # fmt: skip
    if row.set_aside_users:
        lead += f" Users set aside for the day: {count(row.set_aside_users)} (log.max_impressions_per_user)."
        for what, counts in outcomes.items():
            counts["set aside"] = row[f"set_aside_{what}"]
    blocks = [_outcomes(what, counts) for what, counts in outcomes.items() if sum(counts.values())]
    return Section("log", "Reconciliation of the log", lead, blocks or [Missing("Nothing landed.")])


def _outcomes(what: str, counts: Mapping[str, int]) -> Figure:
    total = sum(counts.values())
    shares = {outcome: number / total for outcome, number in counts.items()}
    legend = [f"{outcome} {count(number)}" for outcome, number in counts.items()]
    title = f"{count(total)} {what}"
    return Figure(title, share_chart(title, [("", shares)], percent), legend)
