"""Items that are too old are shown to nobody, and are counted."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs.config.loading import Config, load_config
from jobs.inference.eligibility import count_too_old, eligible_items, report_too_old
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.sections.lists import _too_old
from jobs.serving.publication_checks import NotPublishable, _require_none_too_old
from model.training.processes.lines import output_form

DAY = dt.date(2026, 1, 5)
NOON = dt.time(12, tzinfo=dt.UTC)
ITEMS = {  # item_id: (available, days before DAY on which it was published; None if unknown)
    "today": (True, 0), "limit": (True, 2), "old": (True, 3), "older": (True, 400), "unknown": (True, None), "gone": (False, 3),
    "future": (True, -1),
}  # fmt: skip
TOO_OLD = {"old", "older"}


def limited(config: Config, days: int) -> Config:
    return config.model_copy(update={"scoring": config.scoring.model_copy(update={"max_item_age_days": days})})


@pytest.fixture
def aged(lake: Lake, config: Config) -> Lake:
    rows = [
        dict.fromkeys(tables.item_snapshot(config).columns)
        | {"ds": DAY, "item_id": name, "item_index": index, "available": available, "published_at": None}
        | ({} if days is None else {"published_at": dt.datetime.combine(DAY - dt.timedelta(days=days), NOON)})
        for index, (name, (available, days)) in enumerate(ITEMS.items(), start=2)
    ]
    schema = tables.item_snapshot(config).schema
    lake.overwrite(tables.item_snapshot(config), DAY, lake.spark.createDataFrame(rows, schema))
    return lake


def shown(lake: Lake, config: Config, ds: dt.date = DAY) -> set[str]:
    return {row.item_id for row in eligible_items(lake, config, ds).where("available").collect()}


def test_items_older_than_the_limit_are_not_eligible(aged: Lake, config: Config) -> None:
    """Those of the last day within it are, and those of unknown age."""
    assert shown(aged, limited(config, 2)) == {"today", "limit", "unknown", "future"}
    assert shown(aged, limited(config, 3)) == {"today", "limit", "old", "unknown", "future"}


def test_there_is_no_limit_by_default(aged: Lake, config: Config) -> None:
    assert load_config().scoring.max_item_age_days == 0
    assert shown(aged, config) == {*ITEMS} - {"gone"}
    assert count_too_old(aged, config, DAY) is None
    assert _too_old(aged, config, DAY) == []


def test_the_limit_and_the_blocklist_are_both_kept(aged: Lake, config: Config, tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("today")
    blocked = config.model_copy(
        update={"exclusions": config.exclusions.model_copy(update={"blocklist": str(tmp_path / "blocked.txt")})}
    )
    assert shown(aged, limited(blocked, 2)) == {"limit", "unknown", "future"}


def test_items_that_are_too_old_are_counted(aged: Lake, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """An unavailable item is not one of them: it would not be shown anyway."""
    assert count_too_old(aged, limited(config, 2), DAY) == (len(TOO_OLD), len(ITEMS) - 1)
    report_too_old(aged, config, DAY)
    assert capsys.readouterr().out == ""
    report_too_old(aged, limited(config, 2), DAY)
    assert capsys.readouterr().out == "2 of 6 available items are older than scoring.max_item_age_days (2)\n"
    with output_form("json", verbose=False):
        report_too_old(aged, limited(config, 2), DAY)
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["too_old"], line["available"]) == ("info", 2, 6)
    (facts,) = _too_old(aged, limited(config, 2), DAY)
    assert facts.pairs == [
        ("older than 2 days (scoring.max_item_age_days)", "2 of 6 available items, which no list has")
    ]


def test_lists_with_an_item_that_is_too_old_are_not_published(aged: Lake, config: Config) -> None:
    lists = aged.spark.createDataFrame(
        [(["today", "old"],), (["old", "older"],), (["unknown"],)], "items array<string>"
    ).select(F.transform("items", lambda item: F.struct(item.alias("item_id"))).alias("candidates"))
    with pytest.raises(NotPublishable, match=r"older than scoring.max_item_age_days \(2\), got 2: run the day again"):
        _require_none_too_old(aged, limited(config, 2), lists, DAY)
    _require_none_too_old(aged, limited(config, 400), lists, DAY)
    _require_none_too_old(aged, config, lists, DAY)
