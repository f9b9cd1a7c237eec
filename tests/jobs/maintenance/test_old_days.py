"""Which days maintenance lets go of, and that it never lets go of what readers, trainings or rebuilt days need."""

from __future__ import annotations

import datetime as dt
from typing import get_args

import pytest

from jobs.build_snapshots import recent_clicks
from jobs.build_window_counts import window_item_counts, window_parts
from jobs.config.loading import Config, load_config, merge
from jobs.config.retention import DatedTable, min_retention_days
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.maintain_tables import remove_days
from jobs.maintenance.old_days import dated_tables, old_days

LAST = dt.date(2026, 3, 1)
NOW = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
NEEDED, OF_COUNTS = 33, 63  # days, with the default settings


def keeping(**days: int) -> Config:
    return Config.model_validate(merge(load_config().model_dump(), {"retention": {"tables": days}}))


@pytest.fixture
def dated(lake: Lake) -> Lake:
    """A table with 91 days up to LAST, each of one item."""
    days = [(LAST - dt.timedelta(days=age), "i", 2, 1, 1, 0, 0) for age in range(91)]
    lake.append(tables.DAILY_ITEM_COUNTS, lake.spark.createDataFrame(days, tables.DAILY_ITEM_COUNTS.schema))
    return lake


def publish(lake: Lake, number: int, ds: dt.date, at: dt.datetime) -> None:
    values = {"publication": number, "follows": number - 1, "ds": ds, "model_version": "m", "published_at": at}
    versions = dict.fromkeys(("candidates_version", "item_embeddings_version", "user_embeddings_version", "users"), 1)
    lake.insert_row(tables.PUBLICATIONS, values | versions)


def days_of(lake: Lake) -> list[dt.date]:
    snapshot = lake.snapshot(tables.DAILY_ITEM_COUNTS)
    assert snapshot is not None
    return snapshot.days()


def test_days_before_the_kept_ones_go_and_an_older_version_still_has_them(
    dated: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    config = keeping(daily_item_counts=70)
    assert list(old_days(dated, config, 30, NOW)) == []  # before the first publication
    publish(dated, 1, LAST, NOW)
    remove_days(old_days(dated, config, 30, NOW), dry_run=True)
    assert "daily_item_counts: 21 days before 2025-12-22 (0.0 MB) would be removed" in capsys.readouterr().out
    assert len(days_of(dated)) == 91
    before = dated.version(tables.DAILY_ITEM_COUNTS)
    remove_days(old_days(dated, config, 30, NOW), dry_run=False)
    assert days_of(dated) == [LAST - dt.timedelta(days=age) for age in reversed(range(70))]
    assert dated.read(tables.DAILY_ITEM_COUNTS, version=before).count() == 91
    version = dated.version(tables.DAILY_ITEM_COUNTS)
    remove_days(old_days(dated, config, 30, NOW), dry_run=False)  # nothing is left to remove
    assert dated.version(tables.DAILY_ITEM_COUNTS) == version


def test_days_are_counted_from_the_oldest_day_that_readers_followed_lately(dated: Lake) -> None:
    """A rollback to a day of two weeks ago is possible, so its window stays."""
    publish(dated, 1, LAST - dt.timedelta(days=50), NOW - dt.timedelta(days=49))  # followed until 14 days ago
    publish(dated, 2, LAST - dt.timedelta(days=15), NOW - dt.timedelta(days=14))
    publish(dated, 3, LAST, NOW)
    (old,) = old_days(dated, keeping(daily_item_counts=OF_COUNTS), 7, NOW)
    assert old.first_kept == LAST - dt.timedelta(days=15 + OF_COUNTS - 1)
    assert list(old_days(dated, keeping(daily_item_counts=OF_COUNTS), 30, NOW)) == []  # counted from 50 days ago
    assert list(old_days(dated, keeping(candidates=NEEDED), 7, NOW)) == []  # a table that does not exist


def test_the_window_of_the_oldest_followed_day_can_be_built_again(lake: Lake) -> None:
    """Its first day counts clicks of the days before it, and subtracts the day that leaves the window."""
    days = [LAST - dt.timedelta(days=age) for age in range(100)]
    noon = {day: dt.datetime.combine(day, dt.time(12), dt.UTC) for day in days}
    values = {
        tables.DAILY_ITEM_COUNTS: [("i", 2, 1, 1, 1, 0)] * 100,
        tables.INTERACTIONS: [
            {"impression_id": str(day), "user_id": "u", "item_id": "i", "impressed_at": noon[day], "clicked": True,
             "clicked_at": noon[day], "outcome_final_at": noon[day], "examined": True} for day in days
        ],
    }  # fmt: skip
    for table, rows in values.items():
        names = [field.name for field in table.schema.fields if field.name != "ds"]
        named = [row if isinstance(row, dict) else dict(zip(names, row, strict=False)) for row in rows]
        complete = [
            tuple({"ds": day, **row}.get(f.name) for f in table.schema.fields)
            for day, row in zip(days, named, strict=True)
        ]
        lake.append(table, lake.spark.createDataFrame(complete, table.schema))
    publish(lake, 1, LAST, NOW)
    first = LAST - dt.timedelta(days=29)

    def found(config: Config) -> list[list[tuple[object, ...]]]:
        counted = window_item_counts(window_parts(lake, first, 30, full=True), 30)
        return [sorted(map(tuple, rows.collect())) for rows in (recent_clicks(lake, config, first), counted)]

    config = load_config()
    smallest = {
        name: min_retention_days(name, config.log, config.training) for name in ("interactions", "daily_item_counts")
    }
    before = found(config)
    removed = [old.days for old in old_days(lake, keeping(**smallest), 30, NOW)]
    remove_days(old_days(lake, keeping(**smallest), 30, NOW), dry_run=False)
    assert removed == [100 - smallest["interactions"], 100 - smallest["daily_item_counts"]]
    assert found(config) == before


def test_the_tables_that_can_be_named_are_those_whose_days_can_be_removed() -> None:
    assert sorted(table.name for table in dated_tables(load_config())) == sorted(get_args(DatedTable))


def test_fewer_days_than_are_read_are_refused() -> None:
    config = load_config()
    assert min_retention_days("clicks", config.log, config.training) == NEEDED
    keeping(clicks=NEEDED, users=123, interactions=40, training_examples=63, daily_item_counts=63)
    with pytest.raises(ValueError, match=r"retention.tables.clicks must be 0 \(for ever\) or at least 33 days.*got 32"):
        keeping(clicks=NEEDED - 1)
    with pytest.raises(ValueError, match=r"retention.tables.users .* at least 123 days"):
        keeping(users=NEEDED)
    with pytest.raises(ValueError, match="publications"):
        keeping(publications=400)
