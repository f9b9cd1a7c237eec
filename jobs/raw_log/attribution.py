"""Attribution: which impression a click belongs to, and on which days a late click can still change an outcome.

A click may land days after its impression. It counts if its time is inside the impression's attribution window; the
impression's day is then rebuilt (`jobs.rebuild_days`). Only `AttributionWindow` decides how many days apart an
impression and its click may land. A click after the window is called late in the table reconciliation.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query

MAX_BROADCAST_CLICKS = 1_000_000  # whose users and items every executor keeps in memory, about 100 bytes each


@dataclass(frozen=True)
class AttributionWindow:
    """How far apart a click and its impression may be, in time and in the days on which they land.

    A click counts in [impressed_at - clock_skew_seconds, impressed_at + window_hours], both ends included. It must land
    from `clock_skew_days` before the day of its impression to `window_days` after it; otherwise it is an orphan.
    """

    window_hours: int
    clock_skew_seconds: int = 0

    @classmethod
    def from_config(cls, config: Config) -> AttributionWindow:
        return cls(config.log.attribution_window_hours, config.log.clock_skew_seconds)

    @property
    def window_days(self) -> int:
        """The window in days, rounded up."""
        return -(-self.window_hours // 24)

    @property
    def clock_skew_days(self) -> int:
        """The tolerated clock skew in days, rounded up."""
        return -(-self.clock_skew_seconds // 86_400)

    def first_impression_day(self, ds: dt.date) -> dt.date:
        """The first day whose impressions a click that lands on `ds` can belong to."""
        return ds - dt.timedelta(days=self.window_days)

    def last_impression_day(self, ds: dt.date) -> dt.date:
        """The last day whose impressions a click that lands on `ds` can belong to."""
        return ds + dt.timedelta(days=self.clock_skew_days)

    def first_click_day(self, ds: dt.date) -> dt.date:
        """The first day on which a click on an impression of `ds` can land."""
        return ds - dt.timedelta(days=self.clock_skew_days)

    def last_click_day(self, ds: dt.date) -> dt.date:
        """The last day on which a click on an impression of `ds` can land: how late a late click may be."""
        return ds + dt.timedelta(days=self.window_days)

    def first_duplicate_day(self, ds: dt.date) -> dt.date:
        """The first day on which an earlier copy makes an impression of `ds` a duplicate.

        Copies that are this close or closer could share a click, so only the earlier one counts.
        """
        return self.first_click_day(self.first_impression_day(ds))


def attributed_clicks(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The clicks that landed close enough to `ds` to matter for it, each with the id of its impression.

    With `log.attribution = "user_item"` that is the latest impression of the same user and item before the click, or
    null if there is none.
    """
    window = AttributionWindow.from_config(config)
    first, last = window.first_duplicate_day(ds), window.last_click_day(window.last_impression_day(ds))
    clicks = lake.between(tables.CLICKS, first, last)
    if config.log.attribution == "impression_id":
        return clicks
    shown = lake.between(tables.IMPRESSIONS, window.first_impression_day(first), last)
    landed = lake.days_of(tables.CLICKS, last, (last - first).days + 1)
    is_small = landed is None or landed.rows <= MAX_BROADCAST_CLICKS
    # neither sorts the impressions, which by default Spark does unless the clicks' files are very small
    pairs = clicks.select("user_id", "item_id").distinct().hint("broadcast" if is_small else "shuffle_hash")
    frames = {"clicks": clicks, "impressions": shown, "pairs": pairs}
    return query(lake.spark, "clicks/attributed", frames, clock_skew_seconds=window.clock_skew_seconds)
