"""What people see of an item instead of its id: the columns that [report] names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake


@dataclass(frozen=True)
class ItemText:
    """A title and the URL of a picture; "" where the item has none."""

    title: str = ""
    picture: str = ""


def item_texts(lake: Lake, config: Config, ds: dt.date, item_ids: Collection[str]) -> dict[str, ItemText]:
    """The texts of a few items as of a day, by item_id; empty if [report] names no column.

    A picture whose URL is neither http nor https is left out.
    """
    columns = config.report.item_columns
    if not columns:
        return {}
    found: dict[str, ItemText] = {}
    for batch in lake.batches(tables.item_snapshot(config), ds, ["item_id", *columns]):
        for row in batch.filter(pl.col("item_id").is_in(list(item_ids))).iter_rows(named=True):
            picture = row.get(config.report.item_picture) or ""
            is_web = picture.startswith(("https://", "http://"))
            found[row["item_id"]] = ItemText(row.get(config.report.item_title) or "", picture if is_web else "")
    return found
