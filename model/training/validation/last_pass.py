"""Whether the pass over the held-out day was worth it: the clicks of users that it left out, before and after it."""

from __future__ import annotations

from typing import Any

from model.training.validation.clicks import METRICS, RankedClicks


def last_pass_metrics(
    before: RankedClicks, after: RankedClicks, popularity: RankedClicks, held_back_rows: int
) -> dict[str, Any]:
    """The part `last_pass` of a model's metrics; all three rank the same clicks, in the same order.

    held_back_rows: rows that the pass left out, of which at most `validation_rows` or a few more are measured.
    """
    return {
        "held_back_rows": held_back_rows,
        "rows": len(after.ranks),
        "users": len(after.users.unique()),
        "before": before.metrics(),
        "after": after.metrics(),
        "popularity": popularity.metrics(),
        "change": {name: after.difference(before, name).to_json() for name in METRICS} if len(after.ranks) else {},
    }
