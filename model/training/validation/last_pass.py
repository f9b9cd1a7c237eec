"""Whether the pass over the held-out day was worth it: the clicks of users that it left out, before and after it."""

from __future__ import annotations

from typing import Any

from model.training.validation.clicks import RankedClicks, metrics_at

SMALL_CATALOGUE = 10  # times the longer list length: of fewer items any model finds a large part within that length


def compared_metric(items: int, cutoffs: tuple[int, int]) -> str:
    """The metric by which the model before and after the last pass is compared; items: how many may be shown."""
    shorter, longer = cutoffs
    return f"recall@{shorter if items < SMALL_CATALOGUE * longer else longer}"


def last_pass_metrics(
    before: RankedClicks, after: RankedClicks, popularity: RankedClicks, held_back_rows: int, items: int
) -> dict[str, Any]:
    """The part `last_pass` of a model's metrics; all three rank the same clicks, in the same order.

    items: how many may be shown. held_back_rows: rows that the pass left out, of which at most `validation_rows` or a
    few more are measured.
    """
    names = metrics_at(after.cutoffs)
    return {
        "held_back_rows": held_back_rows,
        "rows": len(after.ranks),
        "compared": compared_metric(items, after.cutoffs),
        "users": len(after.users.unique()),
        "before": before.metrics(),
        "after": after.metrics(),
        "popularity": popularity.metrics(),
        "change": {name: after.difference(before, name).to_json() for name in names} if len(after.ranks) else {},
    }
