"""A row that delta-rs inserts: read like one of Spark's, and by compare-and-set against delta-rs and Spark."""

from __future__ import annotations

import datetime as dt
import errno
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.errors import DiskFull, KeyConflict
from jobs.lake.integrity.arrow_log import read_log
from jobs.lake.integrity.detect import TableDamaged
from jobs.lake.lake import Lake
from jobs.lake.writing import one_row
from jobs.serving.lookup import _last_row
from tests.no_session import no_session
from tests.processes import wait_until

AT = dt.datetime(2026, 3, 2, 6, 7, 8, 123_456, dt.UTC)
WHO = "model_version"  # the column that tells the writers apart


def row(publication: int, name: str = "one") -> dict[str, Any]:
    return {
        "publication": publication, "follows": publication - 1, "ds": dt.date(2026, 3, 1), WHO: name,
        "candidates_version": 1, "item_embeddings_version": 2, "user_embeddings_version": 3, "users": 400, "published_at": AT,
    }  # fmt: skip


def insert_by_spark(lake: Lake, values: dict[str, Any], gate: Callable[[str], str] | None = None) -> None:
    """Insert by MERGE. gate: called with a column's value by an executor, when the version to merge into is chosen."""
    rows = lake.spark.createDataFrame([tuple(values.values())], tables.PUBLICATIONS.schema)
    if gate is not None:
        rows = rows.withColumn(WHO, F.udf(gate)(WHO))
    lake.insert(tables.PUBLICATIONS, rows)


@pytest.fixture
def started(lake: Lake) -> Lake:
    """A lake whose first publication Spark has added."""
    insert_by_spark(lake, row(1))
    return lake


@pytest.fixture
def local(started: Lake) -> Lake:
    """The same lake, without Spark."""
    return Lake(no_session, started.uri)


def numbers(lake: Lake) -> dict[int, str]:
    """The writer of each publication, as Spark reads them; delta-rs must read the same."""
    found = sorted((one.publication, one[WHO]) for one in lake.read(tables.PUBLICATIONS).collect())
    assert found == sorted(pl.read_delta(f"{lake.uri}/publications").select("publication", WHO).iter_rows())
    return dict(found)


def statistics(table: str, version: int) -> dict[str, Any]:
    """The statistics of the one file that a commit adds."""
    lines = Path(table, "_delta_log", f"{version:020d}.json").read_text("utf-8").splitlines()
    (add,) = [action["add"] for action in map(json.loads, lines) if "add" in action]
    return dict(json.loads(add["stats"]))


def files(lake: Lake, publication: int) -> list[Path]:
    return sorted(Path(lake.uri, "publications", f"publication={publication}").glob("[!.]*"))


def before_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Run `act` once, between the check of the key and the commit."""
    write = one_row._write_file

    def written(*arguments: Any) -> None:
        monkeypatch.setattr(one_row, "_write_file", write)
        write(*arguments)
        act()

    monkeypatch.setattr(one_row, "_write_file", written)


def test_it_is_read_like_a_row_of_spark(started: Lake, local: Lake) -> None:
    table = f"{started.uri}/publications"
    protocol = DeltaTable(table).protocol()
    insert_by_spark(started, row(2))
    local.insert_row(tables.PUBLICATIONS, row(3))
    spark, delta_rs = (
        [one.asDict() for one in started.read(tables.PUBLICATIONS).where(f"publication = {n}").collect()]
        for n in (2, 3)
    )
    assert spark == [{**one, "publication": 2, "follows": 1} for one in delta_rs]
    spark_row, delta_rs_row = (_last_row(started.uri, DeltaTable(table, version=n)) for n in (2, 3))
    assert {**delta_rs_row, "publication": 2, "follows": 1} == spark_row
    assert {name: type(value) for name, value in delta_rs_row.items()} == {
        name: type(value) for name, value in spark_row.items()
    }
    ((spark_file,), (own_file,)) = files(started, 2), files(started, 3)
    assert [str(column) for column in pq.ParquetFile(own_file).schema] == [
        str(column) for column in pq.ParquetFile(spark_file).schema
    ]
    spark_stats, own_stats = (statistics(table, n) for n in (2, 3))
    assert own_stats["maxValues"]["published_at"] == "2026-03-02T06:07:08.123Z"
    for kind in ("minValues", "maxValues", "nullCount"):  # Spark has none for the last columns of a wide table
        assert spark_stats[kind].items() <= {**own_stats[kind], "follows": spark_stats[kind]["follows"]}.items()
    assert spark_stats["numRecords"] == own_stats["numRecords"] == 1
    assert DeltaTable(table).protocol() == protocol


def test_the_check_of_the_log_knows_its_commits(started: Lake, local: Lake) -> None:
    local.insert_row(tables.PUBLICATIONS, row(2))
    log = Path(started.uri, "publications", "_delta_log")
    (log / f"{3:020d}.json#1").write_bytes(b"{")  # left of a process that was killed within a commit
    (log / f"{3:020d}.checkpoint.parquet#1").write_bytes(b"PAR1")
    assert numbers(started) == {1: "one", 2: "one"}
    local.insert_row(tables.PUBLICATIONS, row(3))
    commit = log / f"{3:020d}.json"
    info, _ = commit.read_text("utf-8").splitlines()
    assert json.loads(info)["commitInfo"]["operationMetrics"]["numOutputRows"] == "1"
    commit.write_text(info, "utf-8")
    (fault,) = [found.first_fault() for found in [read_log("t", log.parent.as_uri())] if found is not None]
    assert fault == "commit 3 is cut short: it lists 0 of the 1 rows that it wrote"
    with pytest.raises(TableDamaged, match="cut short"):
        local.insert_row(tables.PUBLICATIONS, row(4))


def test_a_key_that_exists_is_a_conflict(started: Lake, local: Lake) -> None:
    for lake in (local, started):
        with pytest.raises(KeyConflict, match="has a row with the same publication as a row to be added"):
            lake.insert_row(tables.PUBLICATIONS, row(1, "late"))
    assert numbers(started) == {1: "one"}


@pytest.mark.parametrize("other", ["delta-rs", "Spark"])
def test_of_two_writers_of_a_key_the_second_one_fails(
    started: Lake, local: Lake, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one commits between the check of the key and the commit."""
    add = insert_by_spark if other == "Spark" else lambda lake, values: local.insert_row(tables.PUBLICATIONS, values)
    before_commit(monkeypatch, lambda: add(started, row(2, "other")))
    with pytest.raises(KeyConflict, match="has a row with the same publication"):
        local.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one", 2: "other"}
    assert len(files(started, 2)) == 1, "the file of the loser is removed"


def test_a_commit_with_another_key_is_no_conflict(started: Lake, local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before_commit(monkeypatch, lambda: insert_by_spark(started, row(3, "other")))
    local.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one", 2: "one", 3: "other"}


def test_spark_fails_if_the_row_is_added_while_it_merges(started: Lake, local: Lake, tmp_path: Path) -> None:
    """Spark has chosen the version to merge into when it evaluates the rows to be added."""
    reached, go = tmp_path / "reached", tmp_path / "go"

    def gate(value: str) -> str:
        reached.touch()
        assert wait_until(go.exists)
        return value

    with ThreadPoolExecutor(1) as background:
        merge = background.submit(insert_by_spark, started, row(2), gate)
        assert wait_until(lambda: reached.exists() or merge.done())
        local.insert_row(tables.PUBLICATIONS, row(2, "other"))
        go.touch()
        with pytest.raises(KeyConflict):
            merge.result()
    assert numbers(started) == {1: "one", 2: "other"}


def test_a_commit_that_spark_replaces_is_noticed(
    started: Lake, local: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a local disk Spark looks for the file of a commit, then renames its own to that name."""
    copy, commit = Lake(started.spark, str(tmp_path / "copy")), one_row._commit
    shutil.copytree(started.uri, copy.uri)
    insert_by_spark(copy, row(2, "other"))

    def replaced(*arguments: Any) -> None:
        commit(*arguments)
        shutil.copytree(copy.uri, started.uri, dirs_exist_ok=True)

    monkeypatch.setattr(one_row, "_commit", replaced)
    with pytest.raises(KeyConflict):
        local.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one", 2: "other"}


def test_an_error_after_the_commit_is_none(started: Lake, local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that of a checkpoint: the row is added, and its file must not be removed."""
    commit = one_row._commit

    def failing(*arguments: Any) -> NoReturn:
        commit(*arguments)
        raise DeltaError("no checkpoint")

    monkeypatch.setattr(one_row, "_commit", failing)
    local.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one", 2: "one"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), DeltaError("IO error: No space left on device (28)")])
def test_a_full_disk_adds_nothing(
    started: Lake, local: Lake, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(one_row, "_commit", full)
    with pytest.raises(DiskFull, match="no space to write"):
        local.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one"}
    assert files(started, 2) == []


def test_spark_inserts_where_there_are_no_hard_links(
    started: Lake, local: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> NoReturn:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("os.link", refused)
    with pytest.raises(RuntimeError, match="no JVM"):
        local.insert_row(tables.PUBLICATIONS, row(2))
    started.insert_row(tables.PUBLICATIONS, row(2))
    assert numbers(started) == {1: "one", 2: "one"}


def test_its_checkpoints_are_read_by_spark(started: Lake, local: Lake) -> None:
    table = f"{started.uri}/publications"
    started.spark.sql(f"alter table delta.`{table}` set tblproperties ('delta.checkpointInterval' = '5')")
    for number in range(2, 9):
        local.insert_row(tables.PUBLICATIONS, row(number))
    assert list(Path(table, "_delta_log").glob("*.checkpoint*.parquet"))
    started.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    assert sorted(numbers(started)) == list(range(1, 9))
    insert_by_spark(started, row(9))
    local.insert_row(tables.PUBLICATIONS, row(10))
    assert sorted(numbers(started)) == list(range(1, 11))
