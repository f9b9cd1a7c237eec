"""Training is refused where examples would be described by clicks of their own day, and only there."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.config.loading import Config, load_config
from jobs.lake.snapshots.snapshot import FILE_COLUMNS, Snapshot
from jobs.lake.tables import Table
from jobs.training.item_days import FeaturesNotBuilt, first_built_day, require_features_of_window

DS, WINDOW = dt.date(2026, 1, 31), 10
ITEM = """
[log]
examples_window_days = 10
[[features.item]]
name = "item_id"
kind = "id"
dim = 64
[[features.item]]
name = "derived"
kind = "KIND"
dim = 64
"""


def day(number: int) -> dt.date:
    """The day that is `number` days before the trained one."""
    return DS - dt.timedelta(days=number)


class Days:
    """A lake of which only the days of the tables are known. days: by table, how many days before the trained one."""

    def __init__(self, **days: range | list[int]) -> None:
        self.days = days

    def snapshot(self, table: Table) -> Snapshot | None:
        if table.name not in self.days:
            return None
        days = [str(day(number)) for number in self.days[table.name]]
        columns: dict[str, Any] = {name: [None] * len(days) for name in FILE_COLUMNS}
        files = pl.DataFrame(columns | {"value": days, "rows": [1] * len(days)}, schema=FILE_COLUMNS)
        return Snapshot(table.name, 0, table.schema, table.partition, files, (table.partition,))

    def days_of(self, table: Table, last: dt.date, days: int) -> Snapshot | None:
        found = self.snapshot(table)
        return None if found is None else found.between(last - dt.timedelta(days=days - 1), last)


def of_kind(folder: Path, kind: str) -> Config:
    (folder / "own.toml").write_text(ITEM.replace("KIND", kind), "utf-8")
    return load_config(str(folder / "own.toml"))


def check(config: Config, **days: range | list[int]) -> None:
    lake: Any = Days(**days)
    require_features_of_window(lake, config, DS)


def test_a_window_that_was_built_without_the_feature_is_refused(tmp_path: Path) -> None:
    config = of_kind(tmp_path, "recent_clicks")
    with pytest.raises(FeaturesNotBuilt) as refused:
        check(config, training_examples=range(40), item_snapshot=[0], item_changes=[0])
    for part in ("['derived']", "9 days", f"{day(9)} to {day(1)}", f"build the tables of {day(9)} to {day(0)} again"):
        assert part in str(refused.value)
    with pytest.raises(FeaturesNotBuilt, match=f"1 days from {day(9)}"):  # a part of the window was built again
        check(config, training_examples=range(40), item_snapshot=range(9), item_changes=range(9))


def test_a_rebuilt_window_and_a_lake_that_began_in_it_are_trained_on(tmp_path: Path) -> None:
    config = of_kind(tmp_path, "recent_clicks")
    check(config, training_examples=range(40), item_snapshot=range(WINDOW), item_changes=range(WINDOW))
    check(config, training_examples=range(3), item_snapshot=range(3), item_changes=range(3))
    check(config, training_examples=[2, 0], item_snapshot=range(5))  # a tiny log, of which nothing changed
    check(config, training_examples=[4, 3, 0], item_snapshot=[4, 3, 0], item_changes=[4])  # days without a log


def test_removed_snapshots_of_earlier_days_are_no_reason_to_refuse(tmp_path: Path) -> None:
    """A day is trained again, of whose window [retention] has removed snapshots."""
    config = of_kind(tmp_path, "recent_clicks")
    check(config, training_examples=range(40), item_snapshot=range(3), item_changes=[20, 2])
    check(
        config, training_examples=range(9), item_snapshot=range(3), item_changes=[7, 2]
    )  # first clicked after midnight
    with pytest.raises(FeaturesNotBuilt):  # the changes are removed too
        check(config, training_examples=range(9), item_snapshot=range(3), item_changes=range(3))


def test_features_that_count_no_clicks_know_nothing_of_an_example(tmp_path: Path) -> None:
    check(of_kind(tmp_path, "age"), training_examples=range(40), item_snapshot=[0], item_changes=[0])


def test_the_first_built_day_is_that_of_a_snapshot_unless_changes_are_older() -> None:
    assert first_built_day([day(3), day(2)], []) == day(3)
    assert first_built_day([day(3)], [day(2)]) == day(3)
    assert first_built_day([day(3)], [day(5), day(2)]) == day(6)
