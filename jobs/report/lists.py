"""The contents of the day's lists: the popularity of their items, their channels, and those of a few users."""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from jobs.config.loading import Config
from jobs.inference.item_slices import ITEM_SLICES, item_slices_without_spark
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.charts import bar_chart, share_chart
from jobs.report.figures import count, percent
from jobs.report.page import Block, Figure, Item, Missing, People, Person, Section

COUNTED = {"items": "items", "clicks": "clicks", "candidates": "positions"}  # columns of `popularity`
PEOPLE, SHOWN = 8, 10  # users, and items of each of their lists
MAX_USERS = 100_000  # whose lists are read; for more users the figures are those of a sample


@dataclass(frozen=True)
class ListCounts:
    """What is counted in lists: users; positions by item_id; positions, and users with such a position, by source."""

    users: int
    items: pl.DataFrame  # item_id, positions
    sources: pl.DataFrame  # source, positions, users


def count_lists(lists: Iterable[pl.DataFrame]) -> ListCounts:
    """Counts over batches of candidates, one row per user."""
    users, by_item, by_source = 0, pl.DataFrame(), pl.DataFrame()
    for batch in lists:
        users += batch.height
        entries = batch.select("candidates").with_row_index("user").explode("candidates")
        entries = entries.filter(pl.col("candidates").is_not_null()).unnest("candidates")
        by_item = _added(by_item, entries.group_by("item_id").agg(positions=pl.len()))
        per_source = entries.group_by("source").agg(positions=pl.len(), users=pl.col("user").n_unique())
        by_source = _added(by_source, per_source)
    return ListCounts(users, by_item, by_source)


def _added(total: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """The sums of two tables of counts, whose first column is the key."""
    key, *counts = part.columns
    part = part.with_columns(pl.col(counts).cast(pl.Int64))
    return (pl.concat([total, part]) if total.width else part).group_by(key).agg(pl.col(counts).sum())


def popularity(slices: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """Rows (bin, slice, items, clicks, positions): items by their clicks in the window, in bins of doubling width.

    The bins are 0, 1, 2 to 3, 4 to 7, ... Bin b > 0 begins at 2 ** (b - 1) clicks.
    slices: rows of `item_slices_without_spark`. positions: (item_id, positions) in the candidate lists.
    """
    bins = pl.Series(np.frexp(slices["clicks"].to_numpy())[1])  # the number of binary digits
    listed = slices.with_columns(bin=bins).join(positions, "item_id", how="left")
    totals = {"items": pl.len(), "clicks": pl.col("clicks").sum(), "positions": pl.col("positions").fill_null(0).sum()}
    return listed.group_by("bin", "slice").agg(**totals).sort("bin", "slice")


def popularity_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: whether the lists favour popular items more than clicks do."""
    title, lead = (
        "Popularity of the candidates",
        "Lists should contain popular items, but not a larger share of them than the clicks contain.",
    )
    if not lake.has_day(tables.CANDIDATES, ds):
        return Section("popularity", title, lead, [Missing(f"There are no candidates of {ds}.")])
    lists = count_lists(lake.batches(tables.CANDIDATES, ds, ["candidates"], MAX_USERS))
    counts = popularity(item_slices_without_spark(lake, config, ds), lists.items)
    rows = list(counts.iter_rows(named=True))  # a few per power of two
    lead += _of_sample(lists.users, lake.row_count(tables.CANDIDATES, ds))
    return Section("popularity", title, lead, [_by_bin(rows), _by_slice(rows), _by_source(lists.sources)])


def _of_sample(users: int, of: int) -> str:
    """A sentence that says that the figures are those of a sample; empty if all users were read."""
    return f" Figures of the lists are of a sample of {count(users)} of {count(of)} users." if users < of else ""


def _by_bin(counts: Sequence[Mapping[str, Any]]) -> Figure:
    bins = sorted({row["bin"] for row in counts})
    bars = {
        name: _shares(sum(row[column] for row in counts if row["bin"] == number) for number in bins)
        for name, column in COUNTED.items()
    }
    title = "Items, clicks and candidates by popularity"
    groups = [clicks_of(number) for number in bins]
    svg = bar_chart(title, "clicks of the item in the training window", "share", groups, bars, percent)
    note = "For each bin of items: its share of all items, of the window's clicks, and of the positions in the lists."
    return Figure(title, svg, list(bars), note)


def _by_slice(counts: Sequence[Mapping[str, Any]]) -> Figure:
    rows = [
        (name, dict(zip(ITEM_SLICES, _shares(_total(counts, column, part) for part in ITEM_SLICES), strict=True)))
        for name, column in COUNTED.items()
    ]
    title = "Items, clicks and candidates by slice"
    return Figure(title, share_chart(title, rows, percent), ITEM_SLICES)


def _total(counts: Sequence[Mapping[str, Any]], column: str, part: str) -> int:
    return sum(row[column] for row in counts if row["slice"] == part)


def clicks_of(number: int) -> str:
    """The label of a bin of `popularity`: the clicks of its items."""
    if number < 2:
        return str(number)
    return f"{_short(2 ** (number - 1))}+"


def _short(clicks: int) -> str:
    return f"{clicks // 1024}k" if clicks >= 1024 else str(clicks)


def _shares(counts: Iterable[int]) -> list[float]:
    listed = list(counts)
    total = sum(listed)
    return [number / total if total else 0.0 for number in listed]


def _by_source(counts: pl.DataFrame) -> Figure:
    sources = list(counts.sort("source").iter_rows())  # (source, positions, users) of each channel
    shares = dict(zip([source for source, _, _ in sources], _shares(n for _, n, _ in sources), strict=True))
    legend = [
        f"{source}: {count(positions)} positions, {count(users)} user{'' if users == 1 else 's'}"
        for source, positions, users in sources
    ]
    title = "Positions by channel"
    return Figure(title, share_chart(title, [("", shares)], percent), legend)


def people_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: some users with their last clicks and their candidates."""
    title = "Examples of users"
    lead = f"Users chosen by a hash, with their last {SHOWN} clicks, newest first, and their first {SHOWN} candidates."
    lists = chosen_lists(lake, ds)
    if not lists:
        return Section("people", title, lead, [Missing(f"There are no candidates of {ds}.")])
    histories = _histories(lake, ds, lists)
    slices = item_slices_without_spark(lake, config, ds)
    shown = pl.col("item_id").is_in([item["item_id"] for items in lists.values() for item in items[:SHOWN]])
    clicked = pl.col("item_index").is_in([index for history in histories.values() for index in history[:SHOWN]])
    named = list(slices.filter(shown | clicked).iter_rows(named=True))  # at most PEOPLE * 2 * SHOWN
    people: Block = People([_person(user, histories.get(user, []), items, named) for user, items in lists.items()])
    return Section("people", title, lead, [people])


def chosen_lists(lake: Lake, ds: dt.date) -> dict[str, list[dict[str, Any]]]:
    """The lists of PEOPLE users by user_id, in the order of a hash of it: the same every day, if all users are read.

    If there are more than MAX_USERS histories, only a sample of them is read, and users outside of it are not chosen.
    """
    histories = lake.row_count(tables.USER_HISTORIES, ds)
    sample = lake.batches(tables.USER_HISTORIES, ds, ["user_id"], MAX_USERS) if histories > MAX_USERS else None
    known = None if sample is None else {user for batch in sample for user in batch["user_id"]}
    chosen: list[tuple[bytes, str, list[dict[str, Any]]]] = []
    for batch in lake.batches(tables.CANDIDATES, ds, ["user_id", "candidates"], MAX_USERS):
        keys = ((_hash(user), user, n) for n, user in enumerate(batch["user_id"]) if known is None or user in known)
        best = [(rank, user, batch["candidates"][n].to_list()) for rank, user, n in heapq.nsmallest(PEOPLE, keys)]
        chosen = heapq.nsmallest(PEOPLE, [*chosen, *best], key=lambda one: one[:2])
    return {user: items for _, user, items in chosen}


def _hash(user_id: str) -> bytes:
    return hashlib.blake2b(user_id.encode(), digest_size=8).digest()


def _histories(lake: Lake, ds: dt.date, users: Iterable[str]) -> dict[str, list[int]]:
    """The clicked item indices of users, newest first, without unknown items; nothing for a user without clicks."""
    found: dict[str, list[int]] = {}
    for batch in lake.batches(tables.USER_HISTORIES, ds, ["user_id", "history"], MAX_USERS):
        own = batch.filter(pl.col("user_id").is_in(list(users))).select("user_id", "history")
        found |= {user: [index for index in reversed(history or []) if index > 0] for user, history in own.iter_rows()}
    return found


def _person(
    user_id: str, history: Sequence[int], items: Sequence[Mapping[str, Any]], named: Sequence[Mapping[str, Any]]
) -> Person:
    by_index = {item["item_index"]: item for item in named}
    slices = {item["item_id"]: item["slice"] for item in named}
    clicks = [
        Item(by_index[index]["item_id"], by_index[index]["slice"]) if index in by_index else Item(f"index {index}", "")
        for index in history[:SHOWN]
    ]
    candidates = [
        Item(item["item_id"], slices.get(item["item_id"], ""), f"{item['score']:.3g} {item['source']}")
        for item in items[:SHOWN]
    ]
    return Person(
        user_id, f"{count(len(history))} clicks in the history, {count(len(items))} candidates", clicks, candidates
    )
