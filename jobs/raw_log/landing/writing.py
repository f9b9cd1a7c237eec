"""Writes rows into the raw tables: checks all of them before it writes the first, and writes impressions last."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import empty_frame
from jobs.lake.tables import Table, check_schema
from jobs.raw_log.landing.unfinished import begin_landing, end_landing

FIRST_DAY = dt.date(1970, 1, 1)  # no row landed before


def land(
    lake: Lake,
    config: Config,
    days: Sequence[dt.date],
    frames: dict[str, DataFrame],
    *,
    refused: DataFrame | None = None,
    on_first: Collection[str] = (),
) -> dict[str, int]:
    """Overwrite `days` of the raw tables named in `frames`; returns the rows of each table.

    refused: rows of the table quarantine, which replace those of the same tables and days. on_first: tables whose rows
    are all of the first day, so that what landed on the others stays.
    Impressions are written last, and those that `days` have before are removed first if other tables are written: once
    a day has impressions it has landed completely. Several tables without impressions are recorded until they are
    written (jobs/raw_log/landing/unfinished.py). Raises SchemaMismatch before anything is written.
    """
    raw = raw_tables(config)
    names = [name for name in raw if name in frames]
    for name in names:
        check_schema(raw[name], frames[name].schema)
    require_stored_columns(lake, config, names)
    days_of = {name: days[:1] if name in on_first else days for name in names}
    if len(names) > 1 and "impressions" in names and _has_rows(lake, tables.IMPRESSIONS, days):
        lake.overwrite_days(tables.IMPRESSIONS, days, empty_frame(lake.spark, tables.IMPRESSIONS.schema))
    if len(names) > 1 and "impressions" not in names:
        for name in names:
            begin_landing(lake, days[0], name)
    if refused is not None:
        predicate = " or ".join(f"(table = '{name}' and ds in ({_listed(of)}))" for name, of in days_of.items())
        lake.overwrite_where(tables.QUARANTINE, refused, predicate)
    counts = {}
    for name in names:
        counts[name] = lake.overwrite_days(raw[name], days_of[name], frames[name])
        end_landing(lake, days[0], name)
    return counts


def require_stored_columns(lake: Lake, config: Config, names: Iterable[str]) -> None:
    """Raises SchemaMismatch if a raw table of `names`, or the quarantine, is stored with other columns."""
    for table in (*(raw_tables(config)[name] for name in names), tables.QUARANTINE):
        lake.snapshot(table)


def _has_rows(lake: Lake, table: Table, days: Sequence[dt.date]) -> bool:
    """Whether one of consecutive days has rows, from the table's log."""
    stored = lake.days_of(table, days[-1], (days[-1] - days[0]).days + 1)
    return stored is not None and stored.rows > 0


def _listed(days: Sequence[dt.date]) -> str:
    return ", ".join(f"DATE'{day.isoformat()}'" for day in days)


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
    snapshot = tables.snapshot_of(side, config)
    last = lake.latest_day_before(snapshot, ds, config.log.state_lookback_days)
    if last is None:
        ever = FIRST_DAY if side == "item" else ds - dt.timedelta(days=config.log.user_retention_days - 1)
        return lake.between(raw_tables(config)[f"{side}s"], ever, ds)
    return lake.between(raw_tables(config)[f"{side}s"], last + dt.timedelta(days=1), ds)
