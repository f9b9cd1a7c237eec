"""The contents of the day's lists: the popularity of their items, and their channels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from jobs.config.loading import Config
from jobs.inference.eligibility import count_too_old, first_published, too_old
from jobs.inference.item_slices import ITEM_SLICES, item_slices_without_spark
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.charts import bar_chart, share_chart
from jobs.report.figures import count, percent
from jobs.report.page import Facts, Figure, Missing, Section

COUNTED = {"items": "items", "clicks": "clicks", "candidates": "positions"}  # columns of `popularity`
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
    charts = [_by_bin(rows), _by_slice(rows), _by_source(lists.sources)]
    return Section("popularity", title, lead, [*charts, *_too_old(lake, config, ds, lists.items)])


def _too_old(lake: Lake, config: Config, ds: dt.date, positions: pl.DataFrame) -> list[Facts]:
    """How many items may not be shown because of their age, and the positions that they have, if there is a limit.

    positions: (item_id, positions) in the lists, which may have been made before the limit was set.
    """
    counts = count_too_old(lake, config, ds)
    if counts is None:
        return []
    old, total = counts
    limit = f"older than {config.scoring.max_item_age_days} days (scoring.max_item_age_days)"
    text = f"{count(old)} of {count(total)} available items, which may not be shown"
    if shown := _positions_too_old(lake, config, ds, positions):
        text += f"; they have {count(shown)} positions of the lists"
    return [Facts([(limit, text)], layout="long")]


def _positions_too_old(lake: Lake, config: Config, ds: dt.date, positions: pl.DataFrame) -> int:
    """The positions of available items that are too old."""
    first = first_published(config, ds)
    if first is None or positions.is_empty():
        return 0
    batches = lake.batches(tables.item_snapshot(config), ds, ["item_id", "available", "published_at"])
    old = (batch.filter("available", too_old(first)).select("item_id") for batch in batches)
    return sum(int(positions.join(items, "item_id", how="semi")["positions"].sum()) for items in old)


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
