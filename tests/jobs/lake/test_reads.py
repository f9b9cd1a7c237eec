"""What a lake reads: by name or through Delta, of one version or of the newest."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.lake import tables
from jobs.lake.integrity import detect
from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.integrity.detect import DataFileDamaged, TableDamaged, VersionLost, data_file_errors
from jobs.lake.integrity.shared import shared_snapshots
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.snapshots import frames
from jobs.lake.tables import SchemaMismatch
from tests.jobs.lake.integrity.damages import zeros_inside

DAY = dt.date(2024, 2, 29)  # a leap day
NEXT = DAY + dt.timedelta(days=1)
TABLE = tables.UNCLICKED_ITEMS


def rows(spark: SparkSession, *items: int) -> DataFrame:
    return spark.createDataFrame([(DAY, f"i{n}", n, n) for n in items], TABLE.schema)


def indices(rows: DataFrame) -> list[int]:
    return sorted(row.item_index for row in rows.collect())


def is_read_by_delta(rows: DataFrame) -> bool:
    files = rows._jdf.queryExecution().analyzed().collectLeaves().head().relation().location()
    return str(files.getClass().getSimpleName()) != "InMemoryFileIndex"


@pytest.mark.parametrize("name", ["a b", "50%", "a%20b", "ü", "[x]", "{a,b}", "a#b"])
def test_a_lake_may_have_any_name(name: str, spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path / name))
    for ds, items in ((DAY, (2, 3)), (NEXT, (4,))):
        lake.overwrite(TABLE, ds, rows(spark, *items).coalesce(1))
    assert indices(lake.day(TABLE, DAY)) == [2, 3]
    assert indices(lake.read(TABLE)) == [2, 3, 4]
    assert sorted(row.item_index for row in lake.rows(TABLE)) == [2, 3, 4]
    assert lake.pinned(TABLE, NEXT, 1).rows == 1
    assert is_read_by_delta(lake.read(TABLE)) == bool(frames.GLOB_CHARACTERS & set(name))


def test_many_files_are_read_by_delta_at_the_version_of_the_snapshot(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, writer = Lake(spark, str(tmp_path), opens_once=True), Lake(spark, str(tmp_path))
    writer.overwrite(TABLE, DAY, rows(spark, 2, 3, 4).repartition(3))
    writer.overwrite(TABLE, NEXT, rows(spark, 5))
    few = lake.read(TABLE)
    assert not is_read_by_delta(few)
    writer.overwrite(TABLE, DAY, rows(spark, 6))
    monkeypatch.setattr(frames, "LISTED_FILES", 2)
    many = lake.read(TABLE)
    assert is_read_by_delta(many)
    assert indices(many) == indices(few) == [2, 3, 4, 5]
    assert many.schema == few.schema
    assert indices(lake.day(TABLE, DAY)) == [2, 3, 4]
    assert not is_read_by_delta(lake.day(TABLE, NEXT))  # of one file


def test_a_lake_that_opens_tables_once_sees_its_own_commits_only(spark: SparkSession, tmp_path: Path) -> None:
    of_job, plain = Lake(spark, str(tmp_path), opens_once=True), Lake(spark, str(tmp_path))
    assert not of_job.has(TABLE)
    plain.overwrite(TABLE, DAY, rows(spark, 2))
    assert not of_job.has(TABLE)
    assert of_job.read(TABLE).isEmpty()
    of_job = of_job.for_job()
    assert (of_job.version(TABLE), of_job.row_count(TABLE, DAY)) == (0, 1)
    plain.overwrite(TABLE, DAY, rows(spark, 3, 4))
    plain.overwrite(TABLE, NEXT, rows(spark, 5))
    assert (of_job.version(TABLE), of_job.row_count(TABLE, DAY)) == (0, 1)
    assert (of_job.has_day(TABLE, NEXT), plain.has_day(TABLE, NEXT)) == (False, True)
    assert (indices(of_job.read(TABLE)), indices(plain.read(TABLE))) == ([2], [3, 4, 5])
    assert [row.item_index for row in of_job.rows(TABLE)] == [2]
    assert of_job.pinned(TABLE, NEXT, 2).rows == 1
    of_job.overwrite(TABLE, DAY, rows(spark, 6))
    assert of_job.version(TABLE) == 3
    assert indices(of_job.read(TABLE)) == [5, 6]
    assert indices(of_job.for_job().read(TABLE)) == indices(plain.read(TABLE)) == [5, 6]


def test_a_job_opens_each_table_once(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("jobs.lake.lake.StoredTable.snapshot", lambda table, *_: opened.append(table.name))
    of_job, plain = Lake(spark, str(tmp_path), opens_once=True), Lake(spark, str(tmp_path))
    for lake, times in ((of_job, 1), (plain, 3)):
        assert not lake.has(TABLE)
        assert lake.day(TABLE, DAY) is not None
        assert lake.latest_day_before(TABLE, DAY, 9) is None
        assert opened == [TABLE.name] * times
        opened.clear()


def test_the_jobs_of_a_run_open_a_table_again_only_after_a_commit(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = detect._read_log
    monkeypatch.setattr(detect, "_read_log", lambda table: opened.append(table.name) or read(table))

    def found(lake: Lake, version: int) -> tuple[list[int], int]:
        opened.clear()
        assert lake.version(TABLE) == version
        return indices(lake.read(TABLE)), len(opened)

    plain = Lake(spark, str(tmp_path))
    plain.overwrite(TABLE, DAY, rows(spark, 2))
    with shared_snapshots():
        job = plain.for_job()
        assert found(job, 0) == ([2], 1)
        assert found(job.for_job(), 0) == ([2], 0)
        plain.overwrite(TABLE, DAY, rows(spark, 3))
        assert found(job, 0) == ([2], 0)  # of one version
        assert found(job.for_job(), 1) == ([3], 1)
        job.for_job().overwrite(TABLE, NEXT, rows(spark, 4))
        assert found(plain.for_job(), 2) == ([3, 4], 1)
        log = Path(plain.table_path(TABLE), "_delta_log")
        (log / commit_name(2)).write_bytes(b"")  # it is not the commit that was read
        with pytest.raises(TableDamaged, match="commit 2 is empty"):
            plain.for_job().version(TABLE)
        for file in {*log.glob(f"*{commit_name(2)}*"), *log.glob("*.crc")}:
            file.unlink()
        assert found(plain.for_job(), 1) == ([3], 1)
    assert found(plain.for_job(), 1) == found(plain.for_job(), 1) == ([3], 1)  # not shared any more


def test_a_version_that_does_not_exist_is_lost(lake: Lake, spark: SparkSession) -> None:
    with pytest.raises(NoSuchDay, match="there is no table unclicked_items"):
        lake.version(TABLE)
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    lake.overwrite(TABLE, DAY, rows(spark, 3))
    assert indices(lake.read(TABLE, version=0)) == [2]
    for read in (lake.read, lake.snapshot):
        with pytest.raises(VersionLost, match=r"version of table unclicked_items in .* must be from 0 to 1, got 2"):
            read(TABLE, version=2)
    with pytest.raises(VersionLost):
        lake.pinned(TABLE, DAY, 1, version=7)


def test_a_version_that_the_log_cannot_rebuild_any_more_is_lost(lake: Lake, spark: SparkSession) -> None:
    """Delta's clean-up removes old commits, and with them the versions before the next checkpoint."""
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    path = lake.table_path(TABLE)
    spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.checkpointInterval' = '1')")  # checkpoint 1
    lake.overwrite(TABLE, NEXT, rows(spark, 3))
    lake.overwrite(TABLE, NEXT, rows(spark, 4))
    log = Path(path, "_delta_log")
    for file in [*log.glob(f"*{0:020d}.*"), *log.glob(f"*{1:020d}.*json*"), *log.glob(f"*{1:020d}.*parquet*")]:
        file.unlink()
    assert [indices(lake.read(TABLE, version=version)) for version in (None, 2, 3)] == [[2, 4], [2, 3], [2, 4]]
    for version in (0, 1):
        with pytest.raises(VersionLost, match=rf"must be from 2 to 3, got {version}"):
            lake.read(TABLE, version=version)
    for file in log.glob(f"*{2:020d}.checkpoint*"):
        file.unlink()
    with pytest.raises(VersionLost, match=r"must be from 3 to 3, got 2"):
        lake.read(TABLE, version=2)
    assert indices(lake.read(TABLE)) == [2, 4]


@pytest.mark.parametrize("column", [None, "item_index"])
def test_a_table_of_another_partition_column_is_refused(column: str | None, lake: Lake, spark: SparkSession) -> None:
    """Its days could not be found by the names of the folders."""
    made = rows(spark, 2).write.format("delta")
    (made if column is None else made.partitionBy(column)).save(lake.table_path(TABLE))
    got = "\\[\\]" if column is None else f"\\['{column}'\\]"
    with pytest.raises(SchemaMismatch, match=f"unclicked_items must be partitioned by ds, got {got}"):
        lake.read(TABLE)


def test_files_outside_of_the_folders_of_their_days_are_read_through_delta(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2, 3).coalesce(1))
    table = Path(lake.table_path(TABLE))
    next(table.glob("ds=*/*.parquet")).rename(table / "moved.parquet")
    log = table / "_delta_log" / commit_name(0)
    actions = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = "moved.parquet"
    log.write_text("".join(json.dumps(action) + "\n" for action in actions), "utf-8")
    log.with_name(f".{log.name}.crc").unlink()
    log.with_name(f"{0:020d}.crc").unlink()
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    assert is_read_by_delta(lake.read(TABLE))
    assert [(row.ds, row.item_index) for row in lake.day(TABLE, DAY).orderBy("item_index").collect()] == [
        (DAY, 2), (DAY, 3)
    ]  # fmt: skip
    assert sorted((row.ds, row.item_index) for row in lake.rows(TABLE)) == [(DAY, 2), (DAY, 3)]


def test_a_missing_file_is_named(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2).coalesce(1))
    (file,) = Path(lake.table_path(TABLE)).glob("ds=*/*.parquet")
    file.unlink()
    with pytest.raises(DataFileDamaged, match=file.name), data_file_errors():
        lake.read(TABLE).collect()


def test_a_checkpoint_that_cannot_be_read_is_damage(lake: Lake, spark: SparkSession) -> None:
    """Its end is whole, so only reading it shows the damage: to delta-rs, then to Delta, whose error is reported."""
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    path = lake.table_path(TABLE)
    spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.checkpointInterval' = '1')")  # checkpoint 1
    log = Path(path, "_delta_log")
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    checkpoint.write_bytes(zeros_inside(checkpoint.read_bytes()))
    checkpoint.with_name(f".{checkpoint.name}.crc").unlink()
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    with pytest.raises(TableDamaged, match=r"table unclicked_items in .* is damaged: .*repair_table"):
        lake.read(TABLE)
