"""What has landed before: it stays, is replaced as a whole, or what would damage it is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import DataFrame

from jobs import ingest_logs
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.raw_log.landing.parsed_file import ParsedFile
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, ingest, write
from tests.no_session import no_session

LATER = DAY + dt.timedelta(days=2)


def test_users_that_landed_alone_stay_when_days_before_land_with_others(lake: Lake, tmp_path: Path) -> None:
    bad = pd.DataFrame({"user_id": ["late", None]})
    ingest(lake, LATER, users=write(bad, tmp_path, "late", "parquet"))
    shown = write(IMPRESSIONS, tmp_path, "impressions", "parquet")
    users = write(pd.DataFrame({"user_id": ["changed"]}), tmp_path, "changed", "csv")
    for _ in range(2):
        argv = ["--lake", lake.uri, "--ds", str(DAY), "--last", str(LATER)]
        ingest_logs.main([*argv, "--impressions", shown, "--users", users])
        landed = {(row.ds, row.user_id) for row in lake.read(tables.users(load_config())).collect()}
        assert landed == {(DAY, "changed"), (LATER, "late")}
        assert [row.ds for row in lake.read(tables.QUARANTINE).collect()] == [LATER]


def test_a_stored_table_of_other_columns_stops_a_landing_before_anything_is_written(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = pd.DataFrame({"item_id": ["i1"], "title": ["t"]})
    ingest(lake, items=write(items, tmp_path, "items", "parquet"))
    config = tmp_path / "title.toml"
    title = '[[features.item]]\nname = "title"\nkind = "categorical"\ndim = 4\n'
    config.write_text(f"{title}[model]\nshare_item_table = false\n", "utf-8")
    files = {
        "users": write(pd.DataFrame({"user_id": ["u", None]}), tmp_path, "users", "parquet"),
        "items": write(items, tmp_path, "items", "parquet"),
        "impressions": write(IMPRESSIONS, tmp_path, "impressions", "parquet"),
    }
    argv = [word for name, path in files.items() for word in (f"--{name}", path)]
    monkeypatch.setattr(ParsedFile, "read", no_session)  # it is found before the files are read to their end
    with pytest.raises(SchemaMismatch, match="table items: missing title string"):
        ingest_logs.main(["--lake", lake.uri, "--config", str(config), "--ds", str(DAY), *argv])
    assert not (Path(lake.uri) / "users").exists()
    assert lake.read(tables.QUARANTINE).count() == 0


def test_a_day_whose_second_landing_was_interrupted_has_not_landed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "impressions": write(IMPRESSIONS, tmp_path, "impressions", "parquet"),
        "clicks": write(CLICKS, tmp_path, "clicks", "parquet"),
    }
    ingest(lake, **files)
    overwrite = Lake.overwrite_days

    def interrupted(self: Lake, table: tables.Table, days: list[dt.date], rows: DataFrame) -> int:
        if table is tables.IMPRESSIONS and not rows.isEmpty():
            raise KeyboardInterrupt
        return overwrite(self, table, days, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "overwrite_days", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, **files)
    assert not lake.has_day(tables.IMPRESSIONS, DAY)  # new clicks do not meet old impressions; await_log waits
    assert ingest(lake, **files) == 4
    assert lake.row_count(tables.IMPRESSIONS, DAY) == 3


def test_impressions_and_the_clicks_that_they_were_made_from_are_not_replaced_alone(lake: Lake, tmp_path: Path) -> None:
    clicks = pd.DataFrame({"user_id": ["u1"], "item_id": ["i1"], "clicked_at": ["2026-01-05 10:00"]})
    alone = write(clicks, tmp_path, "alone", "csv")
    shown = write(IMPRESSIONS, tmp_path, "impressions", "parquet")
    for _ in range(2):  # clicks alone can replace clicks alone
        ingest(lake, clicks=alone)
    with pytest.raises(ValueError, match=f"impressions and clicks of {DAY} must land together: .* that were made from"):
        ingest(lake, impressions=shown)
    ingest(lake, impressions=shown, clicks=write(CLICKS, tmp_path, "clicks", "parquet"))
    with pytest.raises(ValueError, match=f"impressions and clicks of {DAY} must land together: .* were not made from"):
        ingest(lake, clicks=alone)
    assert {row.impression_id for row in lake.day(tables.IMPRESSIONS, DAY).collect()} == {"a", "b", "c"}
    ingest(lake, impressions=shown)


def test_several_days_land_with_few_files_each(lake: Lake, tmp_path: Path) -> None:
    other = IMPRESSIONS.assign(impressed_at=IMPRESSIONS["impressed_at"] + dt.timedelta(days=1))
    (tmp_path / "log").mkdir()
    for name in ("1", "2"):  # two tasks, with rows of both days
        write(pd.concat([IMPRESSIONS, other]), tmp_path / "log", name, "csv")
    shown = str(tmp_path / "log")
    argv = ["--lake", lake.uri, "--ds", str(DAY), "--last", str(DAY + dt.timedelta(days=1))]
    before = lake.spark.conf.get("spark.sql.adaptive.enabled")
    lake.spark.conf.set("spark.sql.adaptive.enabled", "true")  # as it is for large days
    try:
        assert ingest_logs.main([*argv, "--impressions", shown]) == 12
    finally:
        lake.spark.conf.set("spark.sql.adaptive.enabled", str(before))
    folders = [file.parent.name for file in Path(lake.uri).glob("impressions/ds=*/*.parquet")]
    assert sorted(folders) == [f"ds={DAY}", f"ds={DAY + dt.timedelta(days=1)}"]
