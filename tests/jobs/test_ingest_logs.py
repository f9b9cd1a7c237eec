from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import build_interactions, build_reconciliation, ingest_logs
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from tests.marks import slow_after

DAY = dt.date(2026, 1, 5)
IMPRESSIONS = pd.DataFrame({
    "impression_id": ["a", "b", "c"], "request_id": ["r", "r", "r"], "user_id": ["u1", "u1", "u2"],
    "item_id": ["i1", "i2", "i1"], "position": [1, 2, 1],
    "impressed_at": pd.to_datetime(["2026-01-05 10:00", "2026-01-05 10:00", "2026-01-05 11:00"]),
})  # fmt: skip
CLICKS = pd.DataFrame({"impression_id": ["a"], "clicked_at": pd.to_datetime(["2026-01-05 10:05"])})


def write(frame: pd.DataFrame, folder: Path, name: str, form: str) -> str:
    path = folder / f"{name}.{form}"
    if form == "parquet":
        frame.to_parquet(path, coerce_timestamps="us")
    elif form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    return str(path)


def ingest(lake: Lake, ds: dt.date = DAY, **files: str) -> int:
    arguments = [argument for name, path in files.items() for argument in (f"--{name}", path)]
    return ingest_logs.main(["--lake", lake.uri, "--ds", str(ds), *arguments])


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_each_format_lands_the_same_rows(lake: Lake, tmp_path: Path, form: str) -> None:
    items = pd.DataFrame(
        {
            "item_id": ["i1", "i2"],
            "year": [1999, None],
            "genres": ["x|y", "x"] if form == "csv" else [["x", "y"], ["x"]],
        }
    )
    users = pd.DataFrame({"user_id": ["u1"], "age": [30], "gender": ["F"], "occupation": ["writer"]})
    frames = {"impressions": IMPRESSIONS, "clicks": CLICKS, "items": items, "users": users}
    assert ingest(lake, **{name: write(frame, tmp_path, name, form) for name, frame in frames.items()}) == 7
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
    assert [(row.genres, row.year, row.available) for row in landed] == [
        (["x", "y"], 1999.0, True),
        (["x"], None, True),
    ]


def test_rows_that_break_the_contract_are_counted_by_reason(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = IMPRESSIONS.astype({"position": object, "impressed_at": str})
    bad.loc[0, "position"], bad.loc[1, "user_id"] = "first", None
    bad.loc[3] = ["d", "r", "u9", "i9", 1, "yesterday"]
    bad.loc[4] = ["e", "r", "u9", "i9", 1, "2026-01-06 00:00:01"]
    assert ingest(lake, impressions=write(bad, tmp_path, "impressions", "csv")) == 1
    rows = lake.day(tables.QUARANTINE, DAY).collect()
    assert {row.reason for row in rows} == {
        "position is not of type int", "user_id is missing", "impressed_at is not of type timestamp", "impressed_at is after the day on which it landed",
    }  # fmt: skip
    assert json.loads(next(row.row for row in rows if "position" in row.reason))["position"] == "first"
    assert "refused: 1 rows of impressions: user_id is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("no.parquet", lambda path: None, "cannot be read as parquet"),
        ("text.parquet", lambda path: path.write_text("not a parquet file"), "cannot be read as parquet"),
        ("empty.csv", lambda path: path.write_text(""), "the file has no row"),
        ("header.csv", lambda path: IMPRESSIONS.head(0).to_csv(path, index=False), "the file has no row"),
        ("missing.csv", lambda path: IMPRESSIONS.drop(columns="item_id").to_csv(path, index=False), r"must have the columns \['item_id'\], got"),
        ("type.parquet", lambda path: IMPRESSIONS.assign(impressed_at=[1, 2, 3]).to_parquet(path), "impressed_at must be timestamp, got bigint"),
        ("list.parquet", lambda path: IMPRESSIONS.assign(user_id=[["u"]] * 3).to_parquet(path, coerce_timestamps="us"), "user_id must be string, got array<string>"),
        ("all.csv", lambda path: IMPRESSIONS.assign(impressed_at="never").to_csv(path, index=False), r"every row is refused: .*not of type timestamp': 3"),
        ("broken.jsonl", lambda path: path.write_text("{]\n"), "has no jsonl rows"),
        ("unknown.xls", lambda path: path.write_text("x"), "--format must be given if a file name ends in none of"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_before_anything_is_written(
    lake: Lake, tmp_path: Path, name: str, make: object, message: str
) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    good = write(CLICKS, tmp_path, "clicks", "parquet")
    with pytest.raises(ValueError, match=message):
        ingest(lake, clicks=good, impressions=str(tmp_path / name))
    assert not Path(lake.uri).exists() or not any(Path(lake.uri).iterdir())


def test_a_truncated_parquet_file_is_found_before_anything_is_written(lake: Lake, tmp_path: Path) -> None:
    path = Path(write(pd.concat([IMPRESSIONS] * 5_000), tmp_path, "impressions", "parquet"))
    whole = path.read_bytes()
    footer = len(whole) - pq.ParquetFile(path).metadata.serialized_size - 8
    path.write_bytes(whole[:100] + b"\0" * (footer - 100) + whole[footer:])  # the footer is sound, the pages are not
    with pytest.raises(ValueError, match="cannot be read"):
        ingest(lake, impressions=str(path))
    assert not lake.has(tables.IMPRESSIONS)


@pytest.mark.parametrize("day", ["2026-02-30", "2026-1-5", "yesterday", "2026-01-05' or 1=1"])
def test_an_impossible_day_is_refused(lake: Lake, day: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        ingest_logs.main(["--lake", lake.uri, "--ds", day, "--clicks", "x.csv"])
    assert stop.value.code == 2
    assert "must be a day YYYY-MM-DD" in capsys.readouterr().err


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
    """The way that the changelog names."""
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


def test_refused_rows_keep_their_reason_and_file_and_are_reconciled(lake: Lake, tmp_path: Path) -> None:
    bad = IMPRESSIONS.astype({"user_id": object})
    bad.loc[1, "user_id"] = None
    clicks = pd.concat([CLICKS, pd.DataFrame({"impression_id": [None], "clicked_at": CLICKS["clicked_at"]})])
    path = write(bad, tmp_path, "impressions", "csv")
    ingest(lake, impressions=path, clicks=write(clicks, tmp_path, "clicks", "csv"))
    refused = {row.table: row for row in lake.day(tables.QUARANTINE, DAY).collect()}
    assert (refused["impressions"].reason, refused["impressions"].source) == ("user_id is missing", path)
    for job in (build_interactions, build_reconciliation):
        job.main(["--lake", lake.uri, "--ds", str(DAY)])
    row = lake.day(tables.RECONCILIATION, DAY).first()
    assert row is not None
    assert (row.impressions, row.interactions, row.refused_impressions) == (3, 2, 1)
    assert (row.clicks, row.matched_clicks, row.refused_clicks) == (2, 1, 1)


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
