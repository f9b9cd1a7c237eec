"""Files of ids: which ids a file has, and which files are refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.config.loading import Config
from jobs.inference.eligibility import warn_of_unknown_blocked_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.files.ids import ids_from_file

DAY = dt.date(2026, 1, 5)
AWKWARD = [" lead", "trail ", "line\nbreak", "tab\t", "ä", '"quoted"']


def ids(spark: SparkSession, file: Path) -> list[str]:
    return sorted(row.user_id for row in ids_from_file(spark, str(file), "user_id", "--users").collect())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" lead\ntrail \n", [" lead", "trail "]),
        (" lead\r\ntrail \r\n\r\n", [" lead", "trail "]),
        ("\ufeffa\n\n \t \n\u00a0b", ["a", "\u00a0b"]),
        ("a\rb\n", ["a\rb"]),
        ("a\na\n12", ["12", "a"]),
        ("", []),
    ],
)
def test_a_line_of_text_is_an_id_as_it_is(spark: SparkSession, tmp_path: Path, text: str, found: list[str]) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(text.encode())
    assert ids(spark, file) == found


def test_any_id_can_be_given_in_parquet_and_json_lines(spark: SparkSession, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": [*AWKWARD, AWKWARD[0]], "more": 1})
    frame.to_parquet(tmp_path / "ids.parquet")
    frame.to_json(tmp_path / "ids.jsonl", orient="records", lines=True)
    pd.DataFrame({"user_id": [12, 7]}).to_parquet(tmp_path / "numbers.parquet")
    assert ids(spark, tmp_path / "ids.parquet") == ids(spark, tmp_path / "ids.jsonl") == sorted(AWKWARD)
    assert ids(spark, tmp_path / "numbers.parquet") == ["12", "7"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.txt", "rené\n".encode("latin-1"), "--users must be UTF-8 text"),
        ("ids.jsonl", b'{"uid": "a"}\n', r"--users must have a column user_id, got the columns \['uid'\]"),
        ("ids.jsonl", b'{"user_id": "a"}\n{"uid": "b"}\n', "must have a user_id in every row"),
        ("ids.jsonl", b'{"user_id": "a"}\n{"user_id": ""}\n', "must have a user_id in every row"),
        ("ids.jsonl", b'{"user_id": "a"}\n{"user_id": "b\n', "must have a user_id in every row"),
        ("[ids].txt", b"a\n", "whose path contains none of"),
    ],
)
def test_a_file_that_may_be_misread_is_refused(
    spark: SparkSession, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ids(spark, tmp_path / name)


def test_a_number_with_a_fraction_is_no_id(spark: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [12.0]}).to_parquet(tmp_path / "ids.parquet")
    with pytest.raises(ValueError, match="must have a column user_id of type string, got double"):
        ids(spark, tmp_path / "ids.parquet")


def test_ids_of_the_blocklist_that_match_no_item_are_counted(
    lake: Lake, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tables.item_snapshot(config)
    items = lake.spark.createDataFrame([("i1",), (" i2",)], "item_id string")
    columns = {name: f"cast(null as {kind})" for name, kind in lake.spark.createDataFrame([], table.schema).dtypes}
    rows = items.selectExpr("item_id", *(f"{text} as {name}" for name, text in columns.items() if name != "item_id"))
    lake.overwrite(table, DAY, rows)
    file = tmp_path / "blocked.txt"
    file.write_text("i1\n i2\ni2\n")
    blocked = config.exclusions.model_copy(update={"blocklist": str(file)})
    warn_of_unknown_blocked_items(lake, config.model_copy(update={"exclusions": blocked}), DAY)
    warning = "warning: 1 of 3 ids of exclusions.blocklist match no item of 2026-01-05, in this spelling: 'i2'\n"
    assert capsys.readouterr().out == warning
    warn_of_unknown_blocked_items(lake, config, DAY)
    assert capsys.readouterr().out == ""
