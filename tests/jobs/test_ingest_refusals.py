"""Rows and files that break the contract: refused, counted by reason and reconciled."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs import build_interactions, build_reconciliation, ingest_logs
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, ingest, write


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
        ("no.parquet", lambda path: None, "there is no file or folder --impressions .*no.parquet"),
        ("text.parquet", lambda path: path.write_text("not a parquet file"), "cannot be read as parquet"),
        ("empty.csv", lambda path: path.write_text(""), "the file has no row"),
        ("header.csv", lambda path: IMPRESSIONS.head(0).to_csv(path, index=False), "the file has no row"),
        ("missing.csv", lambda path: IMPRESSIONS.drop(columns="item_id").to_csv(path, index=False), r"must have the columns \['item_id'\], got"),
        ("type.parquet", lambda path: IMPRESSIONS.assign(impressed_at=[1, 2, 3]).to_parquet(path), "impressed_at must be timestamp, got bigint"),
        ("list.parquet", lambda path: IMPRESSIONS.assign(user_id=[["u"]] * 3).to_parquet(path, coerce_timestamps="us"), "user_id must be string, got array<string>"),
        ("all.csv", lambda path: IMPRESSIONS.assign(impressed_at="never").to_csv(path, index=False), r"every row is refused: .*not of type timestamp': 3"),
        ("broken.jsonl", lambda path: path.write_text("{]\n"), "must have one JSON object per line"),
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
