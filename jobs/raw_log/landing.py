"""Writes rows into the raw tables: checks all frames before it writes the first, and writes impressions last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table, check_schema


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


def raw_tables(config: Config) -> dict[str, Table]:
    """The raw tables by name, in the order in which they land."""
    return {
        "users": tables.users(config),
        "items": tables.items(config),
        "clicks": tables.CLICKS,
        "impressions": tables.IMPRESSIONS,
    }
