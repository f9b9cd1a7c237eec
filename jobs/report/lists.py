"""The contents of the day's lists: the popularity of their items, their channels, and those of a few users."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.item_slices import ITEM_SLICES, item_slices
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.report.charts import bar_chart, share_chart
from jobs.report.figures import count, percent
from jobs.report.page import Block, Figure, Item, Missing, People, Person, Section

COUNTED = {"items": "items", "clicks": "clicks", "candidates": "positions"}  # columns of sql/report/popularity.sql
PEOPLE, SHOWN = 8, 10  # users, and items of each of their lists


def popularity_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: whether the lists favour popular items more than clicks do."""
    title, lead = (
        "Popularity of the candidates",
        "Lists should contain popular items, but not a larger share of them than the clicks contain.",
    )
    lists = lake.day(tables.CANDIDATES, ds)
    if lists.isEmpty():
        return Section("popularity", title, lead, [Missing(f"There are no candidates of {ds}.")])
    frames = {"candidates": lists, "item_slices": item_slices(lake, config, ds)}
    counts = query(lake.spark, "report/popularity", frames).collect()  # a few rows per power of two
    return Section("popularity", title, lead, [_by_bin(counts), _by_slice(counts), _by_source(lists)])


def _by_bin(counts: Sequence[Row]) -> Figure:
    bins = sorted({row.bin for row in counts})
    bars = {
        name: _shares(sum(row[column] for row in counts if row.bin == number) for number in bins)
        for name, column in COUNTED.items()
    }
    title = "Items, clicks and candidates by popularity"
    groups = [clicks_of(number) for number in bins]
    svg = bar_chart(title, "clicks of the item in the training window", "share", groups, bars, percent)
    note = "For each bin of items: its share of all items, of the window's clicks, and of the positions in the lists."
    return Figure(title, svg, list(bars), note)


def _by_slice(counts: Sequence[Row]) -> Figure:
    rows = [
        (name, dict(zip(ITEM_SLICES, _shares(_total(counts, column, part) for part in ITEM_SLICES), strict=True)))
        for name, column in COUNTED.items()
    ]
    title = "Items, clicks and candidates by slice"
    return Figure(title, share_chart(title, rows, percent), ITEM_SLICES)


def _total(counts: Sequence[Row], column: str, part: str) -> int:
    return sum(row[column] for row in counts if row.slice == part)


def clicks_of(number: int) -> str:
    """The label of a bin of sql/report/popularity.sql: the clicks of its items."""
    if number < 2:
        return str(number)
    return f"{_short(2 ** (number - 1))}+"


def _short(clicks: int) -> str:
    return f"{clicks // 1024}k" if clicks >= 1024 else str(clicks)


def _shares(counts: Iterable[int]) -> list[float]:
    listed = list(counts)
    total = sum(listed)
    return [number / total if total else 0.0 for number in listed]


def _by_source(lists: DataFrame) -> Figure:
    sources = query(lists.sparkSession, "report/sources", {"candidates": lists}).collect()  # one row per channel
    shares = dict(zip([row.source for row in sources], _shares(row.positions for row in sources), strict=True))
    legend = [
        f"{row.source}: {count(row.positions)} positions, {count(row.users)} user{'' if row.users == 1 else 's'}"
        for row in sources
    ]
    title = "Positions by channel"
    return Figure(title, share_chart(title, [("", shares)], percent), legend)


def people_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: some users with their last clicks and their candidates."""
    title, lists = "Examples of users", lake.day(tables.CANDIDATES, ds)
    lead = f"Users chosen by a hash, with their last {SHOWN} clicks, newest first, and their first {SHOWN} candidates."
    frames = {"candidates": lists, "user_histories": lake.day(tables.USER_HISTORIES, ds)}
    rows = query(lake.spark, "report/people", frames, people=PEOPLE, shown=SHOWN).collect()
    if not rows:
        return Section("people", title, lead, [Missing(f"There are no candidates of {ds}.")])
    named = named_items(lake, config, ds, rows)
    people: Block = People([_person(row, named) for row in rows])
    return Section("people", title, lead, [people])


def named_items(lake: Lake, config: Config, ds: dt.date, people: Sequence[Row]) -> list[Row]:
    """Rows (item_id, item_index, slice) of all items that the section shows, at most PEOPLE * 2 * SHOWN."""
    indices = sorted({index for row in people for index in row.history})
    ids = sorted({item.item_id for row in people for item in row.candidates})
    slices = item_slices(lake, config, ds).select("item_id", "item_index", "slice")
    return slices.where(F.col("item_index").isin(indices) | F.col("item_id").isin(ids)).collect()


def _person(row: Row, named: Sequence[Row]) -> Person:
    by_index: Mapping[int, Row] = {item.item_index: item for item in named}
    slices = {item.item_id: item.slice for item in named}
    history = [
        Item(by_index[index].item_id, by_index[index].slice) if index in by_index else Item(f"index {index}", "")
        for index in row.history
    ]
    candidates = [
        Item(item.item_id, slices.get(item.item_id, ""), f"{item.score:.3f} {item.source}") for item in row.candidates
    ]
    about = f"{count(row.remembered)} clicks in the history, {count(row.listed)} candidates"
    return Person(row.user_id, about, history, candidates)
