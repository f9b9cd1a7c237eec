"""Exports of usual systems land through a mapping, or are refused with what to write instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs import ingest_logs
from tests.jobs.log_files import DAY

TIME = 1767607200  # 2026-01-05 10:00:00 UTC
EXPORTS: dict[str, tuple[list[Any], list[str], list[str]]] = {
    "the envelope of a queue, with times inside": (
        [{"schema": {}, "payload": {"user": 2**60, "item": "0042", "ts": TIME * 1000}}],
        ["user_id=payload.user", "item_id=payload.item", 'impressed_at={column = "payload.ts", unit = "ms"}', "shown=true", "clicked=false"],
        ["1152921504606846976  0042     null      2026-01-05 10:00:00"],
    ),
    "a text in some lines and an object in others": (
        [{"payload": json.dumps({"user": 1, "ts": TIME})}, {"payload": {"user": "b", "ts": TIME}}],
        ["user_id=get_json_object(payload, '$.user')", "item_id='i'", """impressed_at={column = "get_json_object(payload, '$.ts')", unit = "s"}""", "shown=true", "clicked=false"],
        ["1        i        null      2026-01-05 10:00:00", "b        i        null      2026-01-05 10:00:00"],
    ),
    "ids that are lists in some lines": (
        [{"u": "a", "t": "2026-01-05"}, {"u": ["b", "c"], "t": "2026-01-05"}, {"u": {"id": "d"}, "t": "2026-01-05"}],
        ["user_id=u", "item_id='i'", "impressed_at=t", "shown=true", "clicked=false"],
        ["refused: 2 rows: user_id is a list or an object, not one value, such as [\"b\", \"c\"]", "impressions: 1 rows would land, 2 would be refused"],
    ),
    "events of a session, objects of a document store": (
        [{"_id": {"$oid": "s1"}, "events": [{"type": "view", "item": {"id": "A"}, "at": {"$date": "2026-01-05T10:00:00+01:00"}}, {"type": "click", "item": {"id": "A"}, "at": {"$date": "2026-01-05T10:00:05+01:00"}}]}, {"_id": {"$oid": "s2"}, "events": []}],
        ["explode.event=events", "user_id=_id.`$oid`", "item_id=event.item.id", "impressed_at=event.at.`$date`", "shown=event.type = 'view'", "clicked=event.type = 'click'"],
        ["s1       A        null      2026-01-05 09:00:00", "s1       A        2026-01-05 09:00:05  null"],
    ),
}  # fmt: skip


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "log.toml"
    path.write_text('[log]\nattribution = "user_item"\n', "utf-8")
    return str(path)


def dry_run(config_file: str, table: str, path: Path, maps: list[str], *options: str) -> None:
    mapped = [part for text in maps for part in ("--map", f"{table}.{text}")]
    ingest_logs.main(
        ["--ds", str(DAY), "--config", config_file, "--dry-run", f"--{table}", str(path), *mapped, *options]
    )


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_lands_through_a_mapping(
    spark: SparkSession, config_file: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, maps, wanted = EXPORTS[name]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    dry_run(config_file, "events", path, maps)
    said = capsys.readouterr().out
    assert [line for line in wanted if line not in said] == [], said


def test_a_file_of_excel_lands_with_its_separator_decimal_commas_and_local_dates(
    spark: SparkSession, config_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "items.csv"
    path.write_text('\ufeff"Nr ";Preis;Datum\r\n0042;"1,50";05.01.2026\r\n7;2;06.01.2026\r\n', "utf-8")
    maps = ["item_id=`Nr `", "published_at=to_timestamp(Datum, 'dd.MM.yyyy')", "price=replace(Preis, ',', '.')"]
    dry_run(config_file, "items", path, maps, "--separator", ";")
    said = capsys.readouterr().out
    assert "0042     True       2026-01-05 00:00:00" in said
    assert 'name = "price"\nkind = "numeric"' in said
    with pytest.raises(ValueError, match="there is no column 'Nr'; did you mean `Nr `"):
        dry_run(config_file, "items", path, ["item_id=Nr"], "--separator", ";")
    with pytest.raises(ValueError, match=r"must have ',' between its cells.*--separator ';' reads such a file"):
        dry_run(config_file, "items", path, maps)


def test_what_cannot_land_says_what_to_write(spark: SparkSession, config_file: str, tmp_path: Path) -> None:
    path, log = tmp_path / "log.parquet", {"impression_id": ["a"], "user_id": ["u"], "item_id": ["i"]}
    pq.write_table(pa.table(log | {"impressed_at": [TIME]}), path)
    with pytest.raises(ValueError, match=r'got bigint; map it.*impressed_at = { column = "impressed_at", unit = "s" }'):
        dry_run(config_file, "impressions", path, [])
    pq.write_table(pa.table(log | {"impressed_at": ["2026-01-05"], "item_id": [b"i"]}), path)
    with pytest.raises(ValueError, match=r'item_id must be string, got binary; map it.*"cast\(item_id as string\)"'):
        dry_run(config_file, "impressions", path, [])
    pq.write_table(pa.table(log | {"tod": pa.array([1], pa.time64("us"))}), path)
    with pytest.raises(
        ValueError, match=r"the columns \['tod'\] as text or times, which Spark can read; they are times"
    ):
        dry_run(config_file, "impressions", path, [])
    lines = tmp_path / "events.jsonl"
    lines.write_text('{"user":{"id":"u"},"n":"1"}\n{"user":"u","n":"0"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"user is a text in some rows.*get_json_object\(user, '\$.name'\)"):
        dry_run(config_file, "events", lines, ["user_id=user.id", "shown=true", "clicked=false"])
    with pytest.raises(ValueError, match=r"clicked must be a condition, got string: 'n'; boolean\(n\) reads 1, true"):
        dry_run(config_file, "events", lines, ["shown=true", "clicked=n"])


def test_a_file_of_which_every_row_is_refused_shows_a_value(
    spark: SparkSession, config_file: str, tmp_path: Path
) -> None:
    path = tmp_path / "impressions.csv"
    path.write_text("user_id,item_id,impressed_at\nu,i,1/5/2026 9:05 AM\n", "utf-8")
    arguments = ["--lake", str(tmp_path / "lake"), "--ds", str(DAY), "--config", config_file]
    with pytest.raises(ValueError, match=r"every row is refused: .*not of type timestamp': 1}, such as '1/5/2026 9:05"):
        ingest_logs.main([*arguments, "--impressions", str(path)])
