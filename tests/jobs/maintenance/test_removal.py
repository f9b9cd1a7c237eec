"""Rows that name a user only through an impression, refused rows included, go with the user; nobody else's do."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import functions as F

from jobs import build_interactions, build_reconciliation, forget_users
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.maintenance import removal
from jobs.raw_log.attribution import AttributionWindow
from tests.jobs.log_files import DAY, ingest, write

USERS = [" lead", "trail ", "line\nbreak", "u2"]
TEN = pd.Timestamp("2026-01-05 10:00")


@pytest.fixture
def landed(lake: Lake, tmp_path: Path) -> Lake:
    """A day whose clicks name impressions only. Impression a is of ' lead', b of 'trail ', and so on; e is refused."""
    impressions = pd.DataFrame({
        "impression_id": [*"abcde"], "request_id": "r", "user_id": [*USERS, " lead"], "item_id": "i", "position": 1,
        "impressed_at": [TEN] * 4 + [TEN + pd.Timedelta(days=2)],
    })  # fmt: skip
    clicks = pd.DataFrame({"impression_id": [*"aabcded"], "clicked_at": TEN + pd.to_timedelta(5, unit="min")})
    clicks.loc[6, "clicked_at"] += pd.Timedelta(days=2)  # refused
    clicks = pd.concat([clicks, clicks.loc[[6]].assign(impression_id="a")])
    files = {"impressions": write(impressions, tmp_path, "impressions", "parquet")}
    ingest(lake, clicks=write(clicks, tmp_path, "clicks", "parquet"), **files)
    assert lake.read(tables.CLICKS).where("user_id is not null").isEmpty()
    return lake


def build(lake: Lake) -> Any:
    """The day's reconciliation, which fails if the sums of the log do not match."""
    for job in (build_interactions, build_reconciliation):
        job.main(["--lake", lake.uri, "--ds", str(DAY)])
    return lake.day(tables.RECONCILIATION, DAY).first()


def forget(lake: Lake, folder: Path, text: str, name: str = "forgotten.txt") -> int:
    (folder / name).write_bytes(text.encode())
    return forget_users.main(["--lake", lake.uri, "--users", str(folder / name)])


def impressions_of(lake: Lake) -> dict[str, str]:
    """The impressions that each raw table and the quarantine still name."""
    refused = lake.read(tables.QUARANTINE).select(F.get_json_object("row", "$.impression_id").alias("impression_id"))
    frames = {table.name: lake.read(table) for table in (tables.IMPRESSIONS, tables.CLICKS)} | {"quarantine": refused}
    return {name: "".join(sorted(row.impression_id for row in rows.collect())) for name, rows in frames.items()}


def test_users_go_with_their_clicks_and_refused_rows_and_the_day_has_no_orphans_afterwards(
    landed: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(landed).orphan_clicks == 1  # its impression was refused
    forget(landed, tmp_path, "\ufeff lead\r\ntrail \r\n\r\n   \r\nlead\nU2\n")
    assert impressions_of(landed) == {"impressions": "cd", "clicks": "cd", "quarantine": "d"}
    assert "warning: 2 of 4 ids are in no table, in this spelling: 'U2', 'lead'" in capsys.readouterr().out
    row = build(landed)
    assert (row.impressions, row.clicks, row.matched_clicks, row.orphan_clicks, row.refused_clicks) == (2, 3, 2, 0, 1)
    forget(landed, tmp_path, json.dumps({"user_id": "line\nbreak"}), "forgotten.jsonl")
    assert impressions_of(landed) == {"impressions": "d", "clicks": "d", "quarantine": "d"}
    assert build(landed).orphan_clicks == 0


def test_a_run_that_was_interrupted_after_the_impressions_had_gone_is_completed(
    landed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(landed)

    def killed(lake: Lake, table: Any, name: str, match: Any) -> Any:
        if name == "interactions":
            raise KeyboardInterrupt
        return remove(lake, table, name, match)

    remove = removal.remove
    monkeypatch.setattr(removal, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        forget(landed, tmp_path, " lead")
    assert impressions_of(landed) == {"impressions": "bcd", "clicks": "bcd", "quarantine": "d"}
    monkeypatch.undo()
    forget(landed, tmp_path, " lead")
    assert landed.read(tables.INTERACTIONS).where("user_id = ' lead'").isEmpty()
    assert impressions_of(landed) == {"impressions": "bcd", "clicks": "bcd", "quarantine": "d"}


def test_clicks_are_found_by_interactions_if_the_raw_impressions_have_gone_already(
    landed: Lake, tmp_path: Path
) -> None:
    build(landed)
    others = landed.read(tables.IMPRESSIONS).where("user_id != ' lead'").localCheckpoint()
    landed.overwrite(tables.IMPRESSIONS, DAY, others)
    forget(landed, tmp_path, " lead")
    assert impressions_of(landed)["clicks"] == "bcd"


def test_an_impression_id_that_is_used_again_by_somebody_else_keeps_that_click(lake: Lake) -> None:
    days = [DAY + dt.timedelta(days=number) for number in (0, 4, 9)]
    impressions = [(day, "1", "r", user, "i", 1, None) for day, user in zip(days, ("a", "b", "a"), strict=True)]
    lake.append(tables.IMPRESSIONS, lake.spark.createDataFrame(impressions, tables.IMPRESSIONS.schema))
    landed_on = [days[0], DAY + dt.timedelta(days=1), days[1], DAY + dt.timedelta(days=5), days[2]]
    clicks = [(day, "1", None, None, None, None) for day in landed_on]
    lake.append(tables.CLICKS, lake.spark.createDataFrame(clicks, tables.CLICKS.schema))
    removed = removal.remove_users(lake, ["a"], AttributionWindow(24))
    assert removed == {"a": 2 + 3}
    assert sorted(row.ds for row in lake.read(tables.CLICKS).collect()) == landed_on[2:4]


def test_a_row_that_could_not_be_parsed_goes_if_one_of_its_words_is_the_id(lake: Lake) -> None:
    lines = ["imp,r,u1,i,1,yesterday", "imp,r,u11,i", '{"user_id": "u1", "ite', "u2"]
    rows = [(DAY, "impressions", "row cannot be parsed", "f", json.dumps({"_corrupt_record": line})) for line in lines]
    lake.append(tables.QUARANTINE, lake.spark.createDataFrame(rows, tables.QUARANTINE.schema))
    assert removal.remove_users(lake, ["u1", "u3"], AttributionWindow(24)) == {"u1": 2}
    left = sorted(json.loads(row.row)["_corrupt_record"] for row in lake.read(tables.QUARANTINE).collect())
    assert left == ["imp,r,u11,i", "u2"]


def test_a_table_of_a_variant_is_named_with_its_variant(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lake.spark.createDataFrame([(DAY, "u1", [], "m", None)], tables.CANDIDATES.schema)
    for variant in (None, "mns"):
        lake.of_variant(variant).append(tables.CANDIDATES, rows)
    removal.remove_users(lake, ["u1"], AttributionWindow(24))
    assert capsys.readouterr().out.splitlines() == ["candidates: 1 rows", "variants/mns/candidates: 1 rows"]
