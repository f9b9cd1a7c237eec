"""From which day on the items of training examples have features of their own day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake


class FeaturesNotBuilt(ValueError):
    """Days of the window were not built with a feature that counts clicks."""


def require_features_of_window(lake: Lake, config: Config, ds: dt.date) -> None:
    """Raises FeaturesNotBuilt if examples of the window would be described by clicks of their own day or later ones.

    These are examples of days before the first one on which items had a feature that counts clicks: the trainer
    describes them by the features of that first day.
    """
    names = [feature.name for feature in config.features.item if feature.counts_clicks]
    snapshots = lake.snapshot(tables.item_snapshot(config))
    if not names or snapshots is None or not snapshots.rows:
        return
    changes = lake.snapshot(tables.item_changes(config))
    first = first_built_day(snapshots.days(), [] if changes is None else changes.days())
    window = lake.days_of(tables.training_examples(config), ds, config.log.examples_window_days)
    earlier = [day for day in ([] if window is None else window.days()) if day < first]
    if earlier:
        raise FeaturesNotBuilt(
            f"item features {names} must be built for all days of the window that have training examples, got none "
            f"of {len(earlier)} days from {earlier[0]} to {earlier[-1]}, whose examples would count their own clicks: "
            f"build the tables of {earlier[0]} to {ds} again (run-day --tables-only; docs/operations.md, adding or "
            "changing a feature), then train"
        )


def first_built_day(snapshots: Sequence[dt.date], changes: Sequence[dt.date]) -> dt.date:
    """The first day on which items had their features. snapshots, changes: the days of both tables, in order.

    Changes before the first snapshot mean that [retention] has removed earlier snapshots. The first click of all
    changes its item on its own day, or on the next one if it happened after midnight.
    """
    if changes and changes[0] < snapshots[0]:
        return changes[0] - dt.timedelta(days=1)
    return snapshots[0]
