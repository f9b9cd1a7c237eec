"""A row that delta-rs inserts into a table that delta-rs has made: no test needs Spark."""

from __future__ import annotations

import datetime as dt
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, Schema

from jobs.lake import tables
from jobs.lake.integrity.delta_log import HINT, commit_name
from jobs.lake.lake import Lake
from jobs.lake.snapshots import operations_after
from tests.no_session import no_session

AT = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
SUM = 512  # bytes that one of Hadoop's checksums covers


def row(publication: int) -> dict[str, Any]:
    return {
        "publication": publication, "follows": None, "ds": AT.date(), "model_version": "m", "candidates_version": 1,
        "item_embeddings_version": 2, "user_embeddings_version": 3, "users": 400, "published_at": AT,
    }  # fmt: skip


def made(folder: Path, **properties: str) -> Lake:
    """A lake without publications; properties: of the table, without `delta.`."""
    schema = Schema.from_json(tables.PUBLICATIONS.schema.json())
    configuration = {f"delta.{name}": value for name, value in properties.items()}
    path = folder / tables.PUBLICATIONS.name
    path.mkdir(parents=True)
    DeltaTable.create(path, schema, partition_by=["publication"], configuration=configuration)
    return Lake(no_session, str(folder))


def add_hadoop_checksum(file: Path) -> None:
    content = file.read_bytes()
    sums = [zlib.crc32(content[start : start + SUM]).to_bytes(4, "big") for start in range(0, len(content), SUM)]
    file.with_name(f".{file.name}.crc").write_bytes(b"crc\0" + SUM.to_bytes(4, "big") + b"".join(sums))


def numbers(lake: Lake) -> list[int]:
    return sorted(one.publication for one in lake.rows(tables.PUBLICATIONS))


def test_its_checkpoint_may_follow_one_of_spark(tmp_path: Path) -> None:
    """Spark writes a checksum of the hint, which the hint of delta-rs does not match."""
    lake = made(tmp_path, checkpointInterval="2")
    log = Path(lake.uri, "publications", "_delta_log")
    lake.insert_row(tables.PUBLICATIONS, row(1))
    hint = log / HINT
    before = hint.read_text("utf-8")
    add_hadoop_checksum(hint)
    for number in range(2, 12):
        lake.insert_row(tables.PUBLICATIONS, row(number))
    assert hint.read_text("utf-8") != before
    assert numbers(lake) == list(range(1, 12))


def test_a_table_with_features_is_left_to_spark(tmp_path: Path) -> None:
    """A commit of delta-rs would ignore a constraint."""
    lake = made(tmp_path)
    lake.insert_row(tables.PUBLICATIONS, row(1))
    DeltaTable(f"{lake.uri}/publications").alter.add_constraint({"enough": "users > 399"})
    with pytest.raises(RuntimeError, match="no JVM"):
        lake.insert_row(tables.PUBLICATIONS, row(2) | {"users": 1})
    assert numbers(lake) == [1]


@pytest.mark.parametrize(("name", "decoded"), [("a%20b", "a b"), ("a%41", "aA"), ("a\\b", "a/b")])
def test_a_lake_is_not_mistaken_for_another_whose_name_is_the_decoded_one(
    name: str, decoded: str, tmp_path: Path
) -> None:
    other, lake = made(tmp_path / decoded), made(tmp_path / name)
    other.insert_row(tables.PUBLICATIONS, row(1))
    with pytest.raises(RuntimeError, match="no JVM"):
        lake.rows(tables.PUBLICATIONS)
    with pytest.raises(RuntimeError, match="no JVM"):
        lake.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(other) == [1]


def test_a_commit_need_not_say_its_operation(tmp_path: Path) -> None:
    lake = made(tmp_path)
    lake.insert_row(tables.PUBLICATIONS, row(1))
    path = f"{lake.uri}/publications"
    Path(path, "_delta_log", commit_name(2)).write_text(json.dumps({"commitInfo": {"timestamp": 1}}), "utf-8")
    assert "WRITE" in operations_after(path, 0)
    assert "MERGE" not in operations_after(path, 0)
