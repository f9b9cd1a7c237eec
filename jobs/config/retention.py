"""The section [retention]: for how many days maintain_tables keeps the days of each table."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jobs.config.features import MAX_DAYS, Section
from jobs.config.sections import Log, Training

KeptDays = Annotated[int, Field(ge=0, le=MAX_DAYS)]  # 0: for ever
DatedTable = Literal[
    "impressions",
    "clicks",
    "users",
    "items",
    "interactions",
    "set_aside_users",
    "training_examples",
    "item_changes",
    "daily_item_counts",
    "daily_item_pairs",
    "window_item_counts",
    "item_sampling_probs",
    "unclicked_items",
    "popular_items",
    "item_neighbours",
    "user_snapshot",
    "item_snapshot",
    "user_histories",
    "user_embeddings",
    "item_embeddings",
    "candidates",
]


class Retention(Section):
    tables: dict[DatedTable, KeptDays]


def min_retention_days(table: str, log: Log, training: Training) -> int:
    """The fewest days of a table that may be kept, counted back from the oldest day that readers can still follow.

    They are the days that a training and the gate read, and those that building each day of the window again reads
    (docs/operations.md, "Adding or changing a feature"): the window of the model, which may be
    `training.retrain_every_days` old, with the days that a late click changes and those before the first of them; and
    the days in which the latest snapshot and history are looked for.
    """
    window = log.examples_window_days
    days_before = {  # that a day of the window reads of a table
        "users": log.user_retention_days,  # by a snapshot without a predecessor
        "interactions": log.recent_click_days,
        "training_examples": window,
        "daily_item_counts": window,
        "daily_item_pairs": window,
    }
    days_of_late_clicks = 2 * (-(-log.attribution_window_hours // 24) + -(-log.clock_skew_seconds // 86_400))
    read = max(window + training.retrain_every_days + days_before.get(table, 0), log.state_lookback_days + 1)
    return read + days_of_late_clicks


def check_retention(retention: Retention, log: Log, training: Training) -> None:
    """Raises ValueError for a table of which fewer days would be kept than are read."""
    for table, days in retention.tables.items():
        if 0 < days < (smallest := min_retention_days(table, log, training)):
            raise ValueError(
                f"retention.tables.{table} must be 0 (for ever) or at least {smallest} days, which trainings, gates "
                f"and a window that is built again read (log.examples_window_days and others), got {days}"
            )
