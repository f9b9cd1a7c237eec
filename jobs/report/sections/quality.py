"""Quality of the lists: the newest evaluation, compared with popularity and with the evaluation before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import polars as pl

from jobs.config.loading import Config
from jobs.inference.evaluation import CANDIDATES, ORACLE, POPULARITY
from jobs.inference.item_slices import ITEM_SLICES
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.charts import bar_chart, share_chart
from jobs.report.curves import MIN_POINTS, curves
from jobs.report.figures import NONE, decimal, difference, direction, percent
from jobs.report.page import Block, Cell, Figure, Grid, Missing, Section

CHANNELS = (CANDIDATES, POPULARITY, ORACLE)
SLICES = {
    "head": "head items",
    "middle": "middle items",
    "tail": "tail items",
    "never_clicked": "never clicked items",
    "new_items": "new items",
    "cold_users": "cold users",
    "warm_users": "warm users",
}
RANKING = {"recall": "Recall", "ndcg": "NDCG", "hit_rate": "HitRate", "mrr": "MRR"}
OF_LISTS = {  # (slice, metric)
    ("all", "item_coverage"): "item coverage",
    ("all", "never_clicked_share"): "share of never clicked items",
    ("all", "clicked_item_coverage"): "share of the clicked items that are in a list",
    ("never_clicked", "clicked_item_coverage"): "the same, of never clicked items",
    ("new_items", "clicked_item_coverage"): "the same, of new items",
}


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one day's lists by (channel, slice, metric, k).

    intervals: the 95 % intervals of the means over users, by the same keys. sample_share: of the users, who were
    measured.
    """

    ds: dt.date
    first: dt.date
    last: dt.date
    values: dict[tuple[str, str, str, int], float]
    intervals: dict[tuple[str, str, str, int], tuple[float, float]] = field(default_factory=dict)
    sample_share: float = 1.0

    @property
    def cutoffs(self) -> list[int]:
        """The list lengths k of its metrics, ascending."""
        return sorted({k for _, _, _, k in self.values})

    def of(self, metric: str, k: int, channel: str = CANDIDATES, item_slice: str = "all") -> float | None:
        """A metric's value; None if it was not measured."""
        return self.values.get((channel, item_slice, metric, k))

    def channels(self, metric: str, k: int, item_slice: str = "all") -> list[str]:
        """The channels for which a metric was measured."""
        return [channel for channel in CHANNELS if self.of(metric, k, channel, item_slice) is not None]

    @property
    def against(self) -> str:
        """The days of the clicks, as text."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def evaluations(lake: Lake, config: Config, ds: dt.date) -> list[Evaluation]:
    """The newest evaluation up to a day and the one before it, at most two."""
    known = lake.days_of(tables.EVALUATION, ds, config.log.state_lookback_days)
    days = [] if known is None else known.days()
    return [_evaluation(lake, day) for day in reversed(days[-2:])]


def _evaluation(lake: Lake, day: dt.date) -> Evaluation:
    rows = lake.rows(tables.EVALUATION, day)  # a few hundred
    keyed = {(row.channel, row.slice, row.metric, row.k): row for row in rows}
    values = {key: row.value for key, row in keyed.items()}
    intervals = {
        key: (row.interval_low, row.interval_high) for key, row in keyed.items() if row.interval_low is not None
    }
    share = rows[0].sample_share or 1.0  # rows of older versions have none
    return Evaluation(day, rows[0].against_from, rows[0].against_to, values, intervals, share)


def quality_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: metrics at each k, by slice, and over the days."""
    title, found = "Quality of the lists", evaluations(lake, config, ds)
    if not found:
        return Section(
            "quality",
            title,
            "",
            [Missing("No lists were evaluated yet: the lists of a day are evaluated on the clicks of later days.")],
        )
    now, before = found[0], found[1] if len(found) > 1 else None
    lead = f"The lists of {now.ds}, evaluated on the clicks of {now.against}."
    if now.sample_share < 1:
        lead += (
            f" All figures are of a sample of {percent(now.sample_share)} of the users (evaluation.sample_share), also "
            "coverage and shares of positions; those of all lists are measured by the gate."
        )
    k = now.cutoffs[-1]
    if now.of("recall", k) is None:
        nothing = Missing("No user clicked a non-excluded item on those days, so there is nothing to recall.")
        return Section("quality", title, lead, [nothing, *_of_lists(now, before)])
    days = _trend(lake, config, ds, k) if before else []
    blocks = [_by_slice(now), *days, _table(now, before), *_of_lists(now, before)]
    return Section("quality", title, lead, sorted(blocks, key=lambda block: isinstance(block, Grid)))  # charts first


def _by_slice(now: Evaluation) -> Figure:
    k = now.cutoffs[-1]
    slices = [name for name in SLICES if now.of("recall", k, item_slice=name) is not None]
    # a channel without a value in a slice gets no bar
    bars = {
        channel: [now.of("recall", k, channel, name) or 0.0 for name in slices] for channel in now.channels("recall", k)
    }
    labels = [SLICES[name] for name in slices]
    title = f"Recall@{k} by item slice and user group"
    note = (
        "Head: the most clicked items. Tail: the least and never clicked. Never clicked: known, without a click in the "
        "window. New: published or first seen in the last days before. Cold: users without an earlier click."
    )
    return Figure(title, bar_chart(title, "", f"Recall@{k}", labels, bars, decimal), list(bars), note)


def _trend(lake: Lake, config: Config, ds: dt.date, k: int) -> list[Block]:
    """A line per channel; nothing with two evaluations, whose difference is in the table."""
    rows = lake.small_table(tables.EVALUATION, ds, days=config.log.state_lookback_days)
    rows = rows.filter(pl.col("metric") == "recall", pl.col("slice") == "all", pl.col("k") == k)
    points = sorted(rows.select("channel", "ds", "value").iter_rows())  # one row per channel and day
    first = min(when for _, when, _ in points)
    lines = {
        channel: [(float((when - first).days), value) for name, when, value in points if name == channel]
        for channel in CHANNELS
        if any(name == channel for name, _, _ in points)
    }

    def day(number: float) -> str:
        return f"{first + dt.timedelta(days=int(number)):%m-%d}"

    if max(map(len, lines.values())) < MIN_POINTS:
        return []
    return curves(f"Recall@{k} over the days", "day of the lists", f"Recall@{k}", lines, decimal, day)


def _table(now: Evaluation, before: Evaluation | None) -> Block:
    """A row per metric and k: the candidates, the change since the previous evaluation, and the other channels."""
    others = [channel for channel in now.channels("recall", now.cutoffs[-1]) if channel != CANDIDATES]
    rows = [
        [
            Cell(f"{name}@{k}"),
            Cell(decimal(value := now.of(metric, k)), "strong"),
            *([Cell(_interval(now, metric, k), "muted")] if now.intervals else []),
            *([Cell(difference(value, was := before.of(metric, k)), direction(value, was))] if before else []),
            *(Cell(decimal(now.of(metric, k, channel))) for channel in others),
        ]
        for metric, name in RANKING.items()
        for k in now.cutoffs
    ]
    note = "Means over users with a click on a non-excluded item. Ranking is over the whole corpus."
    interval = ["95 % interval"] if now.intervals else []
    return Grid(["metric", "candidates", *interval, *_since(before), *others], rows, 1, note, layout="half")


def _interval(now: Evaluation, metric: str, k: int) -> str:
    found = now.intervals.get((CANDIDATES, "all", metric, k))
    return NONE if found is None else " to ".join(map(decimal, found))


def _of_lists(now: Evaluation, before: Evaluation | None) -> list[Block]:
    """Coverage and slices of each channel's lists."""
    k = now.cutoffs[-1]
    channels = now.channels("item_coverage", k)
    if CANDIDATES not in channels:
        return []
    others = channels[1:]
    rows = [
        [
            Cell(label),
            Cell(decimal(value := now.of(metric, k, item_slice=part)), "strong"),
            *([Cell(difference(value, before.of(metric, k, item_slice=part)), "muted")] if before else []),
            *(Cell(decimal(now.of(metric, k, channel, part))) for channel in others),
        ]
        for (part, metric), label in OF_LISTS.items()
        if any(now.of(metric, k, channel, part) is not None for channel in channels)
    ]
    table = Grid([f"lists of {k}", CANDIDATES, *_since(before), *others], rows, layout="half")
    shares = [(name, {part: now.of("list_share", k, name, part) or 0.0 for part in ITEM_SLICES}) for name in channels]
    title = f"Positions in lists of {k} by item slice"
    return [table, Figure(title, share_chart(title, shares, percent), ITEM_SLICES)]


def _since(before: Evaluation | None) -> list[str]:
    return [f"since {before.ds}"] if before else []
