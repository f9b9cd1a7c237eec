"""Rewards of clicks: where they land, and which are refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, ingest, write
from tests.marks import slow_after


@pytest.mark.parametrize("form", slow_after(1, ["parquet", "csv", "jsonl"]))
def test_a_reward_lands_where_the_log_has_one(lake: Lake, tmp_path: Path, form: str) -> None:
    clicks = pd.DataFrame({"impression_id": ["a", "b", "c"], "clicked_at": pd.to_datetime(["2026-01-05 10:05"] * 3), "reward": [12.5, None, 0.0]})  # fmt: skip
    shown = write(IMPRESSIONS, tmp_path, "impressions", form)
    ingest(lake, impressions=shown, clicks=write(clicks, tmp_path, "clicks", form))
    landed = lake.day(tables.CLICKS, DAY).orderBy("impression_id").collect()
    assert [row.reward for row in landed] == [12.5, None, 0.0]
    ingest(lake, impressions=shown, clicks=write(clicks.drop(columns="reward"), tmp_path, "clicks", form))
    assert {row.reward for row in lake.day(tables.CLICKS, DAY).collect()} == {None}


@pytest.mark.parametrize(
    ("reward", "reason"),
    slow_after(
        2,
        [
            ("-0.5", "reward is negative or not finite"),
            ("NaN", "reward is negative or not finite"),
            ("inf", "reward is negative or not finite"),
            ("1e999", "reward is negative or not finite"),
            ("long", "reward is not of type double"),
        ],
    ),
)
def test_a_click_with_an_impossible_reward_is_refused(lake: Lake, tmp_path: Path, reward: str, reason: str) -> None:
    clicks = pd.DataFrame({"impression_id": ["a", "b"], "clicked_at": ["2026-01-05 10:05"] * 2, "reward": [reward, "1"]})  # fmt: skip
    ingest(
        lake,
        impressions=write(IMPRESSIONS, tmp_path, "impressions", "csv"),
        clicks=write(clicks, tmp_path, "clicks", "csv"),
    )
    assert [(row.table, row.reason) for row in lake.day(tables.QUARANTINE, DAY).collect()] == [("clicks", reason)]
    assert [(row.impression_id, row.reward) for row in lake.day(tables.CLICKS, DAY).collect()] == [("b", 1.0)]


def test_numbers_that_are_no_rewards_are_refused_in_typed_files_too(lake: Lake, tmp_path: Path) -> None:
    rewards = [float("nan"), float("inf"), -1e-300, 0.0]
    times = pd.to_datetime(["2026-01-05 10:05"] * 4)
    table = pa.table({"impression_id": list("abcd"), "clicked_at": pa.array(times, pa.timestamp("us")), "reward": pa.array(rewards, pa.float64(), from_pandas=False)})  # fmt: skip
    pq.write_table(table, tmp_path / "clicks.parquet")
    ingest(
        lake, impressions=write(IMPRESSIONS, tmp_path, "impressions", "csv"), clicks=str(tmp_path / "clicks.parquet")
    )
    assert lake.day(tables.QUARANTINE, DAY).where("reason = 'reward is negative or not finite'").count() == 3
    assert [(row.impression_id, row.reward) for row in lake.day(tables.CLICKS, DAY).collect()] == [("d", 0.0)]


def test_a_table_of_clicks_from_before_rewards_is_refused_until_it_has_the_column(lake: Lake, tmp_path: Path) -> None:
    """The change to the table is the one that CHANGELOG.md names."""
    before = DAY - dt.timedelta(days=1)
    old = lake.spark.createDataFrame([(before, "z", None, None, dt.datetime(2026, 1, 4, 10, tzinfo=dt.UTC))], "ds date, impression_id string, user_id string, item_id string, clicked_at timestamp")  # fmt: skip
    old.write.format("delta").partitionBy("ds").save(lake.table_path(tables.CLICKS))
    files = {
        name: write(frame, tmp_path, name, "csv")
        for name, frame in (("impressions", IMPRESSIONS), ("clicks", CLICKS.assign(reward=3)))
    }
    with pytest.raises(SchemaMismatch, match="table clicks: missing reward double"):
        ingest(lake, **files)
    lake.spark.sql(f"alter table delta.`{lake.table_path(tables.CLICKS)}` add columns (reward double)")
    ingest(lake, **files)
    rows = lake.read(tables.CLICKS).orderBy("impression_id").collect()
    assert [(row.impression_id, row.reward) for row in rows] == [("a", 3.0), ("z", None)]
