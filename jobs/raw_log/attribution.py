"""Which days an impression and its click can be apart, and which impression a click belongs to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.partitions import Lake
from jobs.lake.queries import query


@dataclass(frozen=True)
class Reach:
    """How far a click and its impression may lie apart, in time and in the days on which they land.

    A click counts in [impressed_at - clock_skew_seconds, impressed_at + window_hours]. It has to land from
    `clock_skew_days` before its impression's day to `window_days` after it; beyond that it is an orphan.
    """

    window_hours: int
    clock_skew_seconds: int = 0

    @classmethod
    def of(cls, config: Config) -> Reach:
        return cls(config.log.attribution_window_hours, config.log.clock_skew_seconds)

    @property
    def window_days(self) -> int:
        return -(-self.window_hours // 24)

    @property
    def clock_skew_days(self) -> int:
        return -(-self.clock_skew_seconds // 86_400)

    def first_shown(self, ds: dt.date) -> dt.date:
        """The first day whose impressions a click that lands on `ds` can belong to."""
        return ds - dt.timedelta(days=self.window_days)

    def first_copy(self, ds: dt.date) -> dt.date:
        """The first day whose copies of an impression of `ds` take its place: no click could tell nearer ones apart."""
        return self.first_click(self.first_shown(ds))

    def last_shown(self, ds: dt.date) -> dt.date:
        return ds + dt.timedelta(days=self.clock_skew_days)

    def first_click(self, ds: dt.date) -> dt.date:
        """The first day on which a click on an impression of `ds` can land."""
        return ds - dt.timedelta(days=self.clock_skew_days)

    def last_click(self, ds: dt.date) -> dt.date:
        return ds + dt.timedelta(days=self.window_days)


def attributed_clicks(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The clicks that landed around `ds`, far enough for whatever concerns it, each with its impression's id.

    With `log.attribution = "user_item"` the id is that of the latest impression of the click's user and item before it;
    null where there is none.
    """
    reach = Reach.of(config)
    first, last = reach.first_copy(ds), reach.last_click(reach.last_shown(ds))
    clicks = lake.read(tables.CLICKS).where(F.col("ds").between(F.lit(first), F.lit(last)))
    if config.log.attribution == "impression_id":
        return clicks
    shown = lake.read(tables.IMPRESSIONS).where(F.col("ds").between(F.lit(reach.first_shown(first)), F.lit(last)))
    frames = {"clicks": clicks, "impressions": shown}
    return query(lake.spark, "clicks/attributed", frames, clock_skew_seconds=reach.clock_skew_seconds)
