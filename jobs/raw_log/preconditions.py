"""Preconditions of a day: what must be true of its log before a job runs or a model is trained on it."""

from __future__ import annotations

import datetime as dt

from jobs.config.features import stored_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import require_files
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from jobs.lake.tables import SchemaMismatch

LEAVE_EARLIER = "--leave-earlier-days"  # of run_day


class DayStopped(ValueError):
    """The day does not meet a precondition: nothing is trained or published. code: the reason, for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def require_impressions(lake: Lake, ds: dt.date) -> None:
    """Raises DayStopped `empty_day` if no impression landed on `ds`."""
    if not lake.has_day(tables.IMPRESSIONS, ds):
        raise DayStopped("empty_day", f"no impression landed on {ds} in {lake.table_path(tables.IMPRESSIONS)}")


def require_previous_days_run(lake: Lake, ds: dt.date, days: int, *, leaves_earlier: bool = False) -> None:
    """Raises DayStopped `day_not_run` if a day between the last day that was run and `ds` has landed.

    Each day adds its clicks to the histories of the day before, so the clicks of a day that is not run would be lost.
    Days without impressions cannot be run and are ignored. The last day that was run is the newest with item counts,
    which are built after histories; it is searched in the `days` days before `ds`. If there is none, no day of these
    may have landed, unless `leaves_earlier`: a log may be run from a later day on, but only on purpose.
    """
    last = lake.latest_day_before(tables.DAILY_ITEM_COUNTS, ds, days)
    landed = lake.days_of(tables.IMPRESSIONS, ds - dt.timedelta(days=1), days)
    if landed is None or (last is None and leaves_earlier):
        return
    skipped = next((day for day in landed.days() if last is None or day > last), None)
    if skipped is not None:
        message = f"{ds} depends on {skipped}, which has landed but was not run: run {skipped} first"
        on_purpose = f", or run-day --ds {ds} {LEAVE_EARLIER} to start without the days before it"
        raise DayStopped("day_not_run", f"{message}{on_purpose if last is None else ''}")


def require_blocklist(lake: Lake, config: Config) -> None:
    """Raises ValueError if the file of `exclusions.blocklist` does not exist: scoring, hours later, needs it."""
    if uri := config.exclusions.blocklist:
        path = local_path(uri)
        require_files({"exclusions.blocklist": uri if path is None else f"file://{path}"}, None if path else lake.spark)


def require_declared_features(lake: Lake, config: Config) -> None:
    """Raises SchemaMismatch if users or items landed, or are stored by earlier days, with other features."""
    landed = [tables.users(config), tables.items(config)]
    built = [tables.user_snapshot(config), tables.item_snapshot(config)]
    changes = [tables.item_changes(config)] if stored_features(config.features.item) else []
    for table in [*landed, *built, *changes]:
        try:
            lake.has(table)
        except SchemaMismatch as error:
            hint = "was --config forgotten, or has [features] changed since?"
            raise SchemaMismatch(f"{error}; {hint}") from error


def require_startable(
    lake: Lake, config: Config, ds: dt.date, *, builds_tables: bool, leaves_earlier: bool = False
) -> None:
    """Raises ValueError before the first job of a day if a later one would fail, after hours or half of the tables."""
    require_blocklist(lake, config)
    if builds_tables:
        require_declared_features(lake, config)
        require_previous_days_run(lake, ds, config.log.state_lookback_days, leaves_earlier=leaves_earlier)


def require_trainable_day(lake: Lake, ds: dt.date) -> None:
    """Raises DayStopped if the day is not reconciled, has no click, or has a single user or item.

    The tables of the day are not removed: rows that land later may still complete it.
    """
    rows = lake.rows(tables.RECONCILIATION, ds)
    if not rows:
        raise DayStopped("not_reconciled", f"{ds} was not reconciled: run build_reconciliation")
    row = rows[0]
    for code, fails, reason in (
        ("no_clicks", row.clicked == 0, "no impression was clicked"),
        ("one_user", row.users < 2, "all impressions are of one user"),
        ("one_item", row.items < 2, "all impressions are of one item"),
    ):
        if fails:
            raise DayStopped(
                code, f"{ds} has {row.interactions:,} interactions, but {reason}; nothing is trained on it"
            )
