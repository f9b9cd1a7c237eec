"""Days of tables that are older than [retention] says, and than anything that readers, the gate or a training need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import empty_frame
from jobs.lake.tables import Table
from jobs.maintenance.retention import followed_publications, with_variants


@dataclass(frozen=True)
class OldDays:
    """The days of a table before `first_kept`: how many, and the bytes of their files."""

    lake: Lake  # as a variant sees it
    table: Table
    first_kept: dt.date
    days: int
    size: int

    def __str__(self) -> str:
        return (
            f"{self.lake.table_path(self.table)}: {self.days} days before {self.first_kept} ({self.size / 1e6:,.1f} MB)"
        )

    def remove(self) -> None:
        """Remove the rows in one commit; their files stay until a vacuum, as those of any replaced row."""
        no_rows = empty_frame(self.lake.spark, self.table.schema)
        self.lake.overwrite_where(self.table, no_rows, f"ds < DATE'{self.first_kept.isoformat()}'")


def old_days(lake: Lake, config: Config, keep_days: int, at: dt.datetime) -> Iterator[OldDays]:
    """What `retention.tables` lets go of, of all variants.

    Days are counted back from the oldest day whose lists readers followed in the last `keep_days` days, so that each of
    these can still be rolled back to, measured and built again. Nothing is old before the first publication.
    """
    kept = {name: days for name, days in config.retention.tables.items() if days}
    if not kept:
        return
    followed = followed_publications(lake.read(tables.PUBLICATIONS), keep_days, at)
    reference = followed.agg(F.min("ds")).first()[0]  # type: ignore[index]
    if reference is None:
        return
    lakes = with_variants(lake)
    for table in dated_tables(config):
        if table.name in kept:
            first = reference - dt.timedelta(days=kept[table.name] - 1)
            for of_variant in lakes if table.per_variant else [lake]:
                yield from _before(of_variant, table, first)


def dated_tables(config: Config) -> list[Table]:
    """The tables whose days can be removed.

    Those that only record what happened are small and kept for ever. So are two others: `quarantine`, however large, is
    all that is left of the rows that were refused; only simulated logs have an `oracle`, with a list per user and day.
    """
    return [
        tables.IMPRESSIONS, tables.CLICKS, tables.users(config), tables.items(config), tables.INTERACTIONS,
        tables.SET_ASIDE_USERS, tables.training_examples(config), tables.item_changes(config), tables.DAILY_ITEM_COUNTS,
        tables.DAILY_ITEM_PAIRS, tables.WINDOW_ITEM_COUNTS, tables.ITEM_SAMPLING_PROBS, tables.UNCLICKED_ITEMS,
        tables.POPULAR_ITEMS, tables.ITEM_NEIGHBOURS, tables.user_snapshot(config), tables.item_snapshot(config),
        tables.USER_HISTORIES, tables.USER_EMBEDDINGS, tables.ITEM_EMBEDDINGS, tables.CANDIDATES,
    ]  # fmt: skip


def _before(lake: Lake, table: Table, first: dt.date) -> Iterator[OldDays]:
    snapshot = lake.snapshot(table)
    if snapshot is None:
        return
    files = snapshot.files.filter(pl.col("value") < str(first))
    if len(files):
        yield OldDays(lake, table, first, files["value"].n_unique(), int(files["bytes"].sum()))
