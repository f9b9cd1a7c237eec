"""Impressions and clicks of one file of events: each row is shown, clicked, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import DataFrame

from jobs.config.mapping import EventMapping
from jobs.raw_log.mapping.table_mapping import (
    IDENTITY,
    Mapped,
    Prepared,
    mapped,
    prepared,
    selected,
    with_impression_id,
)

KEY = "mapping.events"
SHOWN, CLICKED = f"{KEY}.shown", f"{KEY}.clicked"


def impressions_and_clicks(
    rows: DataFrame,
    mapping: EventMapping,
    impression_fields: Sequence[str],
    click_fields: Sequence[str],
    *,
    only_known: bool = False,
) -> dict[str, Mapped]:
    """The impressions and the clicks of a file of events, by table; each argument is as in `mapped`.

    A click has the time of its row unless `clicked_at` is mapped, and the id of the impression in the same row. Raises
    ValueError as `mapped` does, and if it is not said which rows are impressions and clicks, or how a click finds its
    impression.
    """
    fields = list(dict.fromkeys([*impression_fields, *click_fields]))
    _require_conditions(rows, mapping, click_fields)
    if "clicked_at" not in {*mapping.columns, *rows.columns}:
        same_time = mapping.columns.get("impressed_at", "impressed_at")
        mapping = mapping.model_copy(update={"clicked_at": same_time})
    makes_id = "impression_id" not in {*mapping.columns, *rows.columns}
    chosen, tables = _chosen(prepared(rows, mapping, KEY), mapping), {}
    for table, wanted in (("impressions", impression_fields), ("clicks", click_fields)):
        refused_by = {*wanted, *(IDENTITY if makes_id else ())}
        of_table = mapped(chosen[table], mapping, KEY, fields, only_known=only_known, refused_by=refused_by)
        # a refused click keeps its user, by whom it can be found
        unwanted = [name for name in (*fields, "impression_id") if name not in (*wanted, "user_id")]
        tables[table] = with_impression_id(of_table).without(unwanted)
    return tables


def _chosen(events: Prepared, mapping: EventMapping) -> dict[str, Prepared]:
    """The events that are shown, and those that are clicked, by table; those that are neither are left out."""
    shown = selected(events, mapping.shown, SHOWN)
    clicked = selected(events, mapping.clicked, CLICKED, with_corrupt=False)  # such a row is counted once
    not_shown = replace(events, rows=shown.left_out[SHOWN])
    neither = selected(not_shown, mapping.clicked, CLICKED).left_out[CLICKED]
    reads = shown.reads | clicked.reads
    left_out = {**events.left_out, f"{SHOWN} or clicked": neither}
    return {
        "impressions": replace(shown, reads=reads, left_out=left_out),
        "clicks": replace(clicked, reads=reads, left_out={}),
    }


def _require_conditions(rows: DataFrame, mapping: EventMapping, click_fields: Sequence[str]) -> None:
    for name, table in (("shown", "impressions"), ("clicked", "clicks")):
        if not getattr(mapping, name):
            raise ValueError(
                f"{KEY}.{name} must say which rows are {table}, as in shown = \"event = 'view'\" and clicked = "
                f'"event = \'click\'"; shown = "true" where every row is an impression and clicked is a flag'
            )
    names_impression = "impression_id" in {*mapping.columns, *rows.columns}
    if mapping.shown.strip().lower() != "true" and "impression_id" in click_fields and not names_impression:
        raise ValueError(
            f"{KEY}.impression_id must be mapped where a click is a row of its own, or log.attribution must be "
            f'"user_item": a click then finds its impression by user and item'
        )
