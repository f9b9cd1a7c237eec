"""Items that are too old are shown to nobody, and are counted."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import functions as F

from jobs.cli.advice import Advice, advice_for
from jobs.config.loading import Config, load_config
from jobs.inference.eligibility import (
    count_too_old,
    eligible_items,
    is_too_old,
    report_too_old,
    require_eligible,
    scored_items,
    too_old,
)
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.sections.lists import _too_old
from jobs.serving.publication_checks import NotPublishable, _require_only_eligible
from model.training.processes.lines import output_form

DAY = dt.date(2026, 1, 5)
NOON = dt.time(12, tzinfo=dt.UTC)
ITEMS = {  # item_id: (available, days before DAY on which it was published; None if unknown)
    "today": (True, 0), "limit": (True, 2), "old": (True, 3), "older": (True, 400), "unknown": (True, None), "gone": (False, 3),
    "future": (True, -1),
}  # fmt: skip
TOO_OLD = {"old", "older"}
NO_POSITIONS = pl.DataFrame(schema={"item_id": pl.String, "positions": pl.Int64})


def limited(config: Config, days: int) -> Config:
    return config.model_copy(update={"scoring": config.scoring.model_copy(update={"max_item_age_days": days})})


def blocking(config: Config, folder: Path, *items: str) -> Config:
    (folder / "blocked.txt").write_text("\n".join(items))
    exclusions = config.exclusions.model_copy(update={"blocklist": str(folder / "blocked.txt")})
    return config.model_copy(update={"exclusions": exclusions})


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
    assert _too_old(aged, config, DAY, NO_POSITIONS) == []


def test_the_limit_and_the_blocklist_are_both_kept(aged: Lake, config: Config, tmp_path: Path) -> None:
    assert shown(aged, limited(blocking(config, tmp_path, "today"), 2)) == {"limit", "unknown", "future"}


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
    (facts,) = _too_old(aged, limited(config, 2), DAY, NO_POSITIONS)
    assert facts.pairs == [
        ("older than 2 days (scoring.max_item_age_days)", "2 of 6 available items, which may not be shown")
    ]


def test_the_report_counts_positions_of_items_that_are_too_old_now(aged: Lake, config: Config) -> None:
    """Of lists that were scored before the limit was set; an item that is gone is not one of them."""
    positions = pl.DataFrame({"item_id": ["today", "old", "gone", "unknown"], "positions": [1, 20, 300, 4_000]})
    (facts,) = _too_old(aged, limited(config, 2), DAY, positions)
    assert facts.pairs[0][1] == "2 of 6 available items, which may not be shown; they have 20 positions of the lists"


def test_lists_with_an_item_that_is_too_old_are_not_published(aged: Lake, config: Config, tmp_path: Path) -> None:
    """Nor those with one of the blocklist, which is looked for in the same pass."""
    lists = aged.spark.createDataFrame(
        [(["today", "old"],), (["old", "older"],), (["unknown"],)], "items array<string>"
    ).select(F.transform("items", lambda item: F.struct(item.alias("item_id"))).alias("candidates"))
    with pytest.raises(NotPublishable, match=r"age_days \(2\), got 2: run the day again from build_popular_items"):
        _require_only_eligible(aged, limited(config, 2), DAY, lists)
    neighbours = config.model_copy(update={"scoring": config.scoring.model_copy(update={"neighbour_quota": 5})})
    with pytest.raises(NotPublishable, match="run the day again from build_item_neighbours"):
        _require_only_eligible(aged, limited(neighbours, 2), DAY, lists)
    blocked = blocking(config, tmp_path, "unknown", "old", "of another day")
    for limit in (0, 2):
        with pytest.raises(NotPublishable, match="must have no item of the blocklist, got 2"):
            _require_only_eligible(aged, limited(blocked, limit), DAY, lists)
    _require_only_eligible(aged, limited(blocking(config, tmp_path, "limit"), 400), DAY, lists)
    _require_only_eligible(aged, config, DAY, lists)


def test_the_same_items_are_too_old_with_and_without_spark(aged: Lake, config: Config) -> None:
    table, first = tables.item_snapshot(config), DAY - dt.timedelta(days=2)
    rows = pl.concat(aged.batches(table, DAY, ["item_id", "published_at"])).filter(too_old(first))
    spark = aged.day(table, DAY).where(is_too_old(first)).select("item_id").collect()
    assert {*rows["item_id"]} == {row.item_id for row in spark} == TOO_OLD | {"gone"}


def test_a_limit_that_leaves_no_item_stops_the_day_and_names_itself(
    aged: Lake, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before lists are made: without items they would all be empty, and nothing would say why."""
    table = tables.item_snapshot(config)
    require_eligible(aged, limited(config, 400), DAY)
    assert capsys.readouterr().out == ""  # a short catalogue is not short because of the limit
    require_eligible(aged, limited(config, 2), DAY)
    assert "age_days (2): 4 items of 2026-01-05 may be shown, fewer than scoring.candidates" in capsys.readouterr().out
    blocked = limited(blocking(config, tmp_path, "today", "limit", "unknown", "future"), 2)
    with pytest.raises(ValueError, match=r"\(2\) and exclusions.blocklist must leave an item of 2026-01-05 to show"):
        require_eligible(aged, blocked, DAY)
    aged.overwrite(table, DAY, aged.day(table, DAY).where("item_id like 'old%'").localCheckpoint())
    match = r"scoring.max_item_age_days \(1\) must leave an item of 2026-01-05 to show, got none: 2 of 2 available"
    with pytest.raises(ValueError, match=match) as stop:
        require_eligible(aged, limited(config, 1), DAY)
    assert advice_for(stop.value) == Advice(
        "change the key, and run the same command again", "docs/recall.md#fresh-items"
    )


def test_a_day_is_judged_by_the_items_that_its_lists_could_have(aged: Lake, config: Config) -> None:
    """The limit of today is not that of the day on which the lists were scored."""

    def available() -> set[str]:
        return {row.item_id for row in scored_items(aged, limited(config, 1), DAY).where("available").collect()}

    assert available() == {*ITEMS} - {"gone"}, "without embeddings of the day: the snapshot"
    nothing = dict.fromkeys(tables.ITEM_EMBEDDINGS.columns) | {"ds": DAY}
    rows = [nothing | {"item_id": name, "available": name != "old"} for name in ITEMS if name != "future"]
    embedded = aged.spark.createDataFrame(rows, tables.ITEM_EMBEDDINGS.schema)
    aged.overwrite(tables.ITEM_EMBEDDINGS, DAY, embedded)
    assert available() == {*ITEMS} - {"old", "future"}


def test_the_limit_is_at_most_a_century(tmp_path: Path) -> None:
    file = tmp_path / "over.toml"
    file.write_text("[scoring]\nmax_item_age_days = 36500")
    assert load_config(file).scoring.max_item_age_days == 36_500
    file.write_text("[scoring]\nmax_item_age_days = 5000000")
    with pytest.raises(ValueError, match=r"scoring.max_item_age_days: .* less than or equal to 36500, got 5000000"):
        load_config(file)
