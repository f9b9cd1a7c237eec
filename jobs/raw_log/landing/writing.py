"""Writes rows into the raw tables: checks all frames before it writes the first, and writes impressions last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table, check_schema

FIRST_DAY = dt.date(1970, 1, 1)  # no row landed before


def land(lake: Lake, config: Config, days: Sequence[dt.date], frames: dict[str, DataFrame]) -> dict[str, int]:
    """Overwrite `days` of the raw tables named in `frames`; returns the rows of each table.

    Impressions are written last: once a day has impressions it has landed completely. Raises SchemaMismatch before
    anything is written.
    """
    raw = raw_tables(config)
    names = [name for name in raw if name in frames]
    for name in names:
        check_schema(raw[name], frames[name].schema)
    return {name: lake.overwrite_days(raw[name], days, frames[name]) for name in names}


def quarantine(lake: Lake, days: Sequence[dt.date], refused: DataFrame, names: Sequence[str]) -> int:
    """Replace the refused rows of the raw tables `names` on `days`, and keep those of others; returns the new rows."""
    on_days = ", ".join(f"DATE'{day.isoformat()}'" for day in days)
    of_tables = ", ".join(f"'{name}'" for name in names)
    return lake.overwrite_where(tables.QUARANTINE, refused, f"ds in ({on_days}) and table in ({of_tables})")


def raw_tables(config: Config) -> dict[str, Table]:
    """The raw tables by name, in the order in which they land."""
    return {
        "users": tables.users(config),
        "items": tables.items(config),
        "clicks": tables.CLICKS,
        "impressions": tables.IMPRESSIONS,
    }


def rows_since_snapshot(lake: Lake, config: Config, side: str, ds: dt.date) -> DataFrame:
    """The rows of `users` or `items` that landed up to `ds` and are in no snapshot before it. side: user | item.

    They may have landed on days without a snapshot, such as days without impressions. If there is no snapshot to
    continue from: all items that ever landed, and the users of the last `log.user_retention_days` days.
    """
    snapshot = {"item": tables.item_snapshot, "user": tables.user_snapshot}[side](config)
    last = lake.latest_day_before(snapshot, ds, config.log.state_lookback_days)
    if last is None:
        ever = FIRST_DAY if side == "item" else ds - dt.timedelta(days=config.log.user_retention_days - 1)
        return lake.between(raw_tables(config)[f"{side}s"], ever, ds)
    return lake.between(raw_tables(config)[f"{side}s"], last + dt.timedelta(days=1), ds)
