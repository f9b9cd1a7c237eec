"""A log of any size, written by Spark alone: for the cost of tables, not for what a model learns from them.

Slates of 20, items by a power law, clicks after up to an hour, some of which land a day late; nothing but the seedless
hash of a row's number is random, so every run writes the same.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.landing import raw_tables

SLATE = 20

IMPRESSIONS = """
select
  DATE'{ds}' as ds,
  concat('{ds}-', request, '-', position) as impression_id,
  concat('{ds}-', request) as request_id,
  if({u1} < {hot_user}, 'u0', concat('u', pmod(xxhash64('user', '{ds}', request), {users}))) as user_id,
  if({u2} < {hot_item}, 'i0', concat('i', int({items} * power({u3}, 3)))) as item_id,
  position,
  TIMESTAMP'{ds} 00:00:00' + make_dt_interval(0, 0, 0, pmod(xxhash64('second', '{ds}', request), 86300)) as impressed_at
from (select id as request, explode(sequence(1, {slate})) as position from range({requests}))
"""
CLICKS = """
select
  date_add(ds, int({u1} < {late})) as ds,
  impression_id,
  cast(null as string) as user_id,
  cast(null as string) as item_id,
  impressed_at + make_dt_interval(0, 0, 0, pmod(xxhash64('delay', impression_id), 3600)) as clicked_at,
  cast(null as double) as reward
from {impressions}
where {u2} < {click_rate}
"""


@dataclass(frozen=True)
class SyntheticLog:
    """Sizes of a day, and which share of its rows one item and one user have."""

    requests: int
    users: int
    items: int
    hot_item: float = 0.0
    hot_user: float = 0.0
    late: float = 0.05
    click_rate: float = 0.06

    def impressions(self, spark: SparkSession, ds: dt.date) -> DataFrame:
        draws = {f"u{n}": _uniform(name, f"'{ds}', request") for n, name in ((1, "hot"),)}
        draws |= {f"u{n}": _uniform(name, f"'{ds}', request, position") for n, name in ((2, "hot"), (3, "item"))}
        sizes = {"requests": self.requests, "users": self.users, "items": self.items, "slate": SLATE}
        shares = {"hot_item": self.hot_item, "hot_user": self.hot_user}
        return spark.sql(IMPRESSIONS.format(ds=ds, **sizes, **shares, **draws))

    def land(self, lake: Lake, config: Config, ds: dt.date, *, first: bool) -> None:
        """Land a day: its impressions, and the clicks that land on it; on the first one all users and items."""
        spark = lake.spark
        if first:
            names = {"user": self.users, "item": self.items}
            for side, count in names.items():
                table = raw_tables(config)[f"{side}s"]
                known = spark.range(count).select(F.concat(F.lit(side[0]), "id").alias(f"{side}_id"))
                columns = [
                    F.col(field.name)
                    if field.name == f"{side}_id"
                    else F.lit(None).cast(field.dataType).alias(field.name)
                    for field in table.schema
                ]
                lake.overwrite(table, ds, known.select(columns))
        lake.overwrite(tables.IMPRESSIONS, ds, self.impressions(spark, ds))
        lake.overwrite(tables.CLICKS, ds, self.clicks(lake, ds))

    def clicks(self, lake: Lake, ds: dt.date) -> DataFrame:
        """The clicks that land on `ds`."""
        shown = lake.window(tables.IMPRESSIONS, ds, 2)
        draws = {"u1": _uniform("late", "impression_id"), "u2": _uniform("click", "impression_id")}
        text = CLICKS.replace("{impressions}", "<impressions>")
        text = text.format(late=self.late, click_rate=self.click_rate, **draws).replace(
            "<impressions>", "{impressions}"
        )
        return lake.spark.sql(text, impressions=shown).where(F.col("ds") == F.lit(ds))


def _uniform(name: str, key: str) -> str:
    """SQL of a number in [0, 1) that hangs on `key`."""
    return f"pmod(xxhash64('{name}', {key}), 1000003) / 1000003"
