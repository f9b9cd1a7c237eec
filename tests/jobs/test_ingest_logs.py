"""Log files land in the tables, from each format, again, and from a real log."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs import build_interactions, build_reconciliation
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, ingest, write


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_each_format_lands_the_same_rows(lake: Lake, tmp_path: Path, form: str) -> None:
    items = pd.DataFrame(
        {
            "item_id": ["i1", "i2"],
            "title": ["One", None],
            "year": [1999, None],
            "genres": ["x|y", "x"] if form == "csv" else [["x", "y"], ["x"]],
        }
    )
    users = pd.DataFrame({"user_id": ["u1"], "age": [30], "gender": ["F"], "occupation": ["writer"]})
    frames = {"impressions": IMPRESSIONS, "clicks": CLICKS, "items": items, "users": users}
    files = {name: write(frame, tmp_path, name, form) for name, frame in frames.items()}
    assert ingest(lake, **files, config="movielens") == 7
    shown = lake.day(tables.IMPRESSIONS, DAY).orderBy("impression_id").collect()
    assert [(row.impression_id, row.user_id, row.item_id, row.position) for row in shown] == [
        ("a", "u1", "i1", 1), ("b", "u1", "i2", 2), ("c", "u2", "i1", 1),
    ]  # fmt: skip
    assert (
        lake.spark.sql(
            "select unix_timestamp({t}.impressed_at) as t from {t} where impression_id = 'a'",
            t=lake.read(tables.IMPRESSIONS),
        ).first()[0]
        == 1767607200
    )  # type: ignore[index]
    landed = lake.spark.read.format("delta").load(lake.path("items")).orderBy("item_id").collect()
    assert [(row.title, row.genres, row.year, row.available) for row in landed] == [
        ("One", ["x", "y"], 1999.0, True),
        (None, ["x"], None, True),
    ]


def test_additional_columns_pass_where_the_contract_allows_them(lake: Lake, tmp_path: Path) -> None:
    wider = write(IMPRESSIONS.assign(device="tv", score=1.5), tmp_path, "impressions", "parquet")
    ingest(lake, impressions=wider)
    assert lake.read(tables.IMPRESSIONS).columns == tables.IMPRESSIONS.columns
    strict = tmp_path / "strict.toml"
    strict.write_text('[log]\nadditional_columns = "refuse"\n', "utf-8")
    version = lake.version(tables.IMPRESSIONS)
    with pytest.raises(
        ValueError,
        match=r"must only have columns of the contract \(log.additional_columns\), got \['device', 'score'\]",
    ):
        ingest(lake, impressions=wider, config=str(strict))
    assert lake.version(tables.IMPRESSIONS) == version
    assert ingest(lake, impressions=write(IMPRESSIONS, tmp_path, "impressions", "parquet"), config=str(strict)) == 3


def test_landing_again_replaces_the_day(lake: Lake, tmp_path: Path) -> None:
    ingest(lake, impressions=write(IMPRESSIONS, tmp_path, "impressions", "parquet"))
    ingest(lake, impressions=write(IMPRESSIONS.head(2), tmp_path, "impressions", "parquet"))
    assert lake.read(tables.IMPRESSIONS).count() == 2


def test_a_click_without_an_impression_table_is_its_own_impression(lake: Lake, tmp_path: Path) -> None:
    clicks = pd.DataFrame({"user_id": ["u1", "u1", "u1"], "item_id": ["i1", "i2", "i1"], "clicked_at": pd.to_datetime(["2026-01-05 10:00", "2026-01-05 11:00", "2026-01-05 10:00"])})  # fmt: skip
    ingest(lake, clicks=write(clicks, tmp_path, "clicks", "jsonl"))
    build_interactions.main(["--lake", lake.uri, "--ds", str(DAY)])
    rows = lake.day(tables.INTERACTIONS, DAY).collect()
    assert sorted((row.user_id, row.item_id) for row in rows) == [("u1", "i1"), ("u1", "i2")]
    assert all(row.clicked for row in rows)


def test_a_click_that_is_there_twice_is_one_impression_with_its_largest_reward(lake: Lake, tmp_path: Path) -> None:
    clicks = pd.DataFrame({"user_id": "u1", "item_id": ["i1", "i1", "i1", "i2"], "clicked_at": "2026-01-05 10:00", "reward": [2.0, 7.0, None, None]})  # fmt: skip
    ingest(lake, clicks=write(clicks, tmp_path, "clicks", "csv"))
    build_interactions.main(["--lake", lake.uri, "--ds", str(DAY)])
    rows = lake.day(tables.INTERACTIONS, DAY).orderBy("item_id").collect()
    assert [(row.item_id, row.reward) for row in rows] == [("i1", 7.0), ("i2", None)]
    assert (lake.day(tables.CLICKS, DAY).count(), lake.day(tables.IMPRESSIONS, DAY).count()) == (4, 2)


def test_ids_are_data_and_never_sql(lake: Lake, tmp_path: Path) -> None:
    hostile = IMPRESSIONS.assign(user_id="'; drop table x; --", item_id="{ds} :ds $(id) \\u0000")
    ingest(
        lake,
        impressions=write(hostile, tmp_path, "impressions", "parquet"),
        clicks=write(CLICKS, tmp_path, "clicks", "parquet"),
    )
    build_interactions.main(["--lake", lake.uri, "--ds", str(DAY)])
    row = lake.day(tables.INTERACTIONS, DAY).where("clicked").first()
    assert row is not None
    assert (row.user_id, row.item_id) == (hostile.user_id[0], hostile.item_id[0])


@pytest.mark.slow
def test_a_real_news_log_keeps_every_exposure(lake: Lake, tmp_path: Path, data: Path) -> None:
    """Ekstra Bladet: in-view lists and clicked lists exploded; the order of the list is not a position."""
    log = pq.read_table(data / "ebnerd_sample" / "behaviors.parquet").to_pandas()
    log = log.rename(columns={"impression_id": "request_id", "impression_time": "impressed_at"})
    shown = log.explode("article_ids_inview").rename(columns={"article_ids_inview": "item_id"})
    clicked = log.explode("article_ids_clicked").rename(columns={"article_ids_clicked": "item_id"})
    for frame in (shown, clicked):
        frame["impression_id"] = frame["request_id"].astype(str) + "-" + frame["item_id"].astype(str)
    impressions = shown[["impression_id", "request_id", "user_id", "item_id", "impressed_at"]]
    clicks = clicked[["impression_id", "impressed_at"]].rename(columns={"impressed_at": "clicked_at"})
    last = dt.date(2023, 3, 2)
    ingest(
        lake,
        last,
        impressions=write(impressions, tmp_path, "impressions", "parquet"),
        clicks=write(clicks, tmp_path, "clicks", "parquet"),
    )
    build_interactions.main(["--lake", lake.uri, "--ds", str(last)])
    rows = lake.day(tables.INTERACTIONS, last)
    assert rows.count() == len(shown) == 10_848
    pairs = clicks["impression_id"].nunique()
    assert rows.where("clicked").count() == pairs
    assert lake.day(tables.QUARANTINE, last).count() == 0
    build_reconciliation.main(["--lake", lake.uri, "--ds", str(last)])
    row = lake.day(tables.RECONCILIATION, last).first()
    assert row is not None
    assert (row.impressions, row.clicks) == (10_848, len(clicks)) == (10_848, 1_047)
    assert (row.matched_clicks, row.duplicate_clicks) == (pairs, len(clicks) - pairs)
    assert row.orphan_clicks == row.early_clicks == row.late_clicks == 0
