"""Rows that Python workers make: their own files are the same table as the files that Spark writes of the same rows."""

from __future__ import annotations

import datetime as dt
import errno
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PythonException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.errors import DiskFull, WriteConflict
from jobs.lake.file_layout import row_group_size, sorted_files
from jobs.lake.integrity.delta_log import actions, commit_name
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.lake.writing import WorkerRows, by_workers
from jobs.lake.writing.transaction import Transaction
from jobs.workers.files import WrittenFile

DAY, NEXT = dt.date(2026, 3, 1), dt.date(2026, 3, 2)
TABLE = tables.CANDIDATES
SCHEMA = TABLE.pick("user_id", "candidates", "model_version", "scored_at")
SCORED_AT = dt.datetime(2026, 3, 1, 6, 0, 0, 123_456, dt.UTC)
USERS, GROUP = 230, 20


def worker_rows(lake: Lake, version: str = "m", users: int = USERS, error: Exception | None = None) -> WorkerRows:
    """Lists of two items for the users 0, 1, ..., in two files; the user 7 has none."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            one = {"score": 0.25, "rank": 1, "source": "two_tower", "channel_score": 0.5}
            lists = [
                [] if user == "user7" else [{"item_id": f"of {user}", **one}, {"item_id": None, **one, "rank": 2}]
                for user in batch.column("user_id").to_pylist()
            ]
            kind = pa.struct(
                {"item_id": pa.string(), "score": pa.float32(), "rank": pa.int32(), "source": pa.string()}
                | {"channel_score": pa.float32()}
            )
            times = pa.repeat(pa.scalar(SCORED_AT, pa.timestamp("us", tz="UTC")), batch.num_rows)
            columns = [batch.column("user_id"), pa.array(lists, pa.list_(kind)), pa.repeat(version, len(lists)), times]
            yield pa.RecordBatch.from_arrays(columns, SCHEMA.names)
            if error is not None:
                raise error

    ids = lake.spark.range(users).selectExpr("concat('user', id) as user_id")
    return WorkerRows(sorted_files(ids, "user_id", users), make, SCHEMA)


def last_commit(lake: Lake) -> list[dict[str, Any]]:
    log = Path(lake.table_path(TABLE), "_delta_log", commit_name(lake.version(TABLE)))
    return list(actions(log.read_bytes()))


def info_of(commit: list[dict[str, Any]]) -> dict[str, Any]:
    return next(action["commitInfo"] for action in commit if "commitInfo" in action)


def files_of(lake: Lake, day: dt.date = DAY) -> list[Path]:
    return [Path(urlsplit(file).path) for file in lake.pinned(TABLE, day, 1).files]


def test_the_table_is_the_one_that_spark_writes(lake: Lake) -> None:
    """Rows, Parquet types, row groups, Delta's statistics, and what a commit says; of a new table and of a later day."""
    other = Lake(lake.spark, f"{lake.uri}-of-spark")
    for day in (DAY, NEXT, NEXT):
        assert lake.overwrite_by_workers(TABLE, day, worker_rows(lake), GROUP) == USERS
        with row_group_size(lake.spark, GROUP):
            assert other.overwrite(TABLE, day, worker_rows(other).frame()) == USERS
    by_id = [one.read(TABLE).orderBy("ds", "user_id").collect() for one in (lake, other)]
    assert by_id[0] == by_id[1]
    assert by_id[0][0].scored_at == SCORED_AT.replace(tzinfo=None)
    files, others = files_of(lake), files_of(other)
    assert len(files) == len(others) == 2
    for file, of_spark in zip(map(pq.ParquetFile, files), map(pq.ParquetFile, others), strict=True):
        assert file.schema == of_spark.schema
        for number in range(of_spark.num_row_groups):
            groups = [one.metadata.row_group(number) for one in (file, of_spark)]
            assert groups[0].num_rows == groups[1].num_rows
            ranges = [(g.column(0).statistics.min, g.column(0).statistics.max) for g in groups]
            assert ranges[0] == ranges[1]
            assert groups[0].column(0).compression == groups[1].column(0).compression
    commits = [last_commit(lake), last_commit(other)]
    stats = [sorted((json.loads(a["add"]["stats"]) for a in commit if "add" in a), key=str) for commit in commits]
    assert stats[0] == stats[1]
    assert [sum("remove" in action for action in commit) for commit in commits] == [2, 2]
    infos = [info_of(commit) for commit in commits]
    for name in ("operation", "operationParameters", "isBlindAppend", "readVersion"):
        assert infos[0][name] == infos[1][name]
    for name in ("numFiles", "numOutputRows", "numRemovedFiles"):
        assert infos[0]["operationMetrics"][name] == infos[1]["operationMetrics"][name]
    assert lake.row_count(TABLE, NEXT) == USERS
    assert lake.snapshot(TABLE).schema == other.snapshot(TABLE).schema  # type: ignore[union-attr]


def test_duckdb_and_polars_read_the_same_rows(lake: Lake) -> None:
    lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake), GROUP)
    wanted = lake.small_table(TABLE, DAY).sort("user_id")
    polars = pl.read_delta(lake.table_path(TABLE)).sort("user_id")
    assert polars.select("user_id", "candidates").equals(wanted.select("user_id", "candidates"))
    names = [str(file) for file in files_of(lake)]
    rows = duckdb.sql("select user_id, candidates, ds from read_parquet($1, hive_partitioning = true)", params=[names])
    assert {name: len(found) for name, found, _ in rows.fetchall()} == {
        f"user{number}": 0 if number == 7 else 2 for number in range(USERS)
    }


def test_a_changed_byte_is_found(lake: Lake) -> None:
    lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake), GROUP)
    content = (file := files_of(lake)[0]).read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(Exception, match="Checksum error"):
        lake.day(TABLE, DAY).collect()


def test_a_task_that_fails_leaves_the_table_and_no_file(lake: Lake) -> None:
    lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake), GROUP)
    before = sorted(Path(lake.table_path(TABLE)).rglob("*.parquet*"))
    with pytest.raises(PythonException, match="a damaged index"):
        lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, error=ValueError("a damaged index")), GROUP)
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFull, match=r"no space to write .*/candidates; free space: "):
        lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, error=full), GROUP)
    assert sorted(Path(lake.table_path(TABLE)).rglob("*.parquet*")) == before
    assert lake.version(TABLE) == 0


def test_a_writer_who_commits_while_the_workers_write_is_not_overwritten(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Transaction.take

    def after_another(self: Transaction, files: list[WrittenFile], value: str) -> None:
        monkeypatch.setattr(Transaction, "take", take)
        other = Lake(lake.spark, lake.uri)
        other.overwrite_by_workers(TABLE, DAY, worker_rows(other, "theirs", users=3), GROUP)
        take(self, files, value)

    for version in range(2):  # the first commit of a table, and a later one
        monkeypatch.setattr(Transaction, "take", after_another)
        with pytest.raises(WriteConflict, match=r"another writer changed .*candidates in the meantime"):
            lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, "mine"), GROUP)
        assert lake.version(TABLE) == version
        assert {row.model_version for row in lake.day(TABLE, DAY).collect()} == {"theirs"}


def test_a_table_of_an_older_version_gets_the_field_that_it_lacks(lake: Lake) -> None:
    older = "array(struct('i' as item_id, float(1) as score, 1 as rank, 'two_tower' as source)) as candidates"
    made = lake.spark.sql(
        f"select DATE'{DAY}' as ds, 'u' as user_id, {older}, 'm' as model_version, now() as scored_at"
    )
    made.write.format("delta").partitionBy("ds").save(lake.table_path(TABLE))
    lake.overwrite_by_workers(TABLE, NEXT, worker_rows(lake, users=1), GROUP)
    scores = {row.ds: [one.channel_score for one in row.candidates] for row in lake.read(TABLE).collect()}
    assert scores == {DAY: [None], NEXT: [0.5, 0.5]}


def test_an_empty_day_replaces_the_day(lake: Lake) -> None:
    lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=5), GROUP)
    assert lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=0), GROUP) == 0
    assert not lake.has_day(TABLE, DAY)


def test_a_table_with_a_constraint_is_written_by_spark(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=5), GROUP)
    lake.spark.sql(f"alter table delta.`{lake.table_path(TABLE)}` add constraint m check (model_version != 'bad')")
    monkeypatch.setattr(by_workers, "_commit_files", None)
    assert lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=45), GROUP) == 45
    assert sum(pq.ParquetFile(file).num_row_groups for file in files_of(lake)) >= 3
    with pytest.raises(Exception, match="DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"):
        lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, "bad", users=5), GROUP)
    assert lake.row_count(TABLE, DAY) == 45


def test_any_name_of_a_lake_and_the_codec_of_the_session(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path / "[x] a%20b"))
    spark.conf.set(by_workers.CODEC, "zstd")
    try:
        assert lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=5), GROUP) == 5
    finally:
        spark.conf.unset(by_workers.CODEC)
    assert lake.read(TABLE).where(F.size("candidates") == 2).count() == 5
    (file, *_) = Path(lake.table_path(TABLE), f"ds={DAY}").glob("*.zstd.parquet")
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_other_columns_are_refused_before_anything_is_written(lake: Lake) -> None:
    rows = worker_rows(lake)
    with pytest.raises(SchemaMismatch, match="missing scored_at timestamp"):
        lake.overwrite_by_workers(
            TABLE, DAY, WorkerRows(rows.source, rows.make, TABLE.pick("user_id", "candidates", "model_version")), GROUP
        )
    assert not Path(lake.table_path(TABLE)).exists()


def test_a_file_that_the_driver_does_not_see_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_workers, "WrittenFile", lambda path, size, *rest: WrittenFile(f"{path}.lost", size, *rest))
    with pytest.raises(ValueError, match=r"a disk that the driver and all executors see, got .*lost of \d+ bytes"):
        lake.overwrite_by_workers(TABLE, DAY, worker_rows(lake, users=5), GROUP)
    assert not lake.has(TABLE)
