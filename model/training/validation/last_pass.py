"""Whether the pass over the held-out day was worth it: the clicks of users that it left out, before and after it."""

from __future__ import annotations

from typing import Any

from model.training.validation.clicks import METRICS, RankedClicks

SMALL_CATALOGUE = 1_000  # items, of which any model finds a large part among 100


def compared_metric(items: int) -> str:
    """The metric by which the model before and after the last pass is compared; items: how many may be shown."""
    return "recall@10" if items < SMALL_CATALOGUE else "recall@100"


def last_pass_metrics(
    before: RankedClicks, after: RankedClicks, popularity: RankedClicks, held_back_rows: int, items: int
) -> dict[str, Any]:
    """The part `last_pass` of a model's metrics; all three rank the same clicks, in the same order.

    items: how many may be shown. held_back_rows: rows that the pass left out, of which at most `validation_rows` or a
    few more are measured.
    """
    return {
        "held_back_rows": held_back_rows,
        "rows": len(after.ranks),
        "compared": compared_metric(items),
        "users": len(after.users.unique()),
        "before": before.metrics(),
        "after": after.metrics(),
        "popularity": popularity.metrics(),
        "change": {name: after.difference(before, name).to_json() for name in METRICS} if len(after.ranks) else {},
    }
