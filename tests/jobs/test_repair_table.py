"""A table with a really damaged log: a typed error, one command restores it, and the lost days can be written again.

tests/jobs/lake/integrity/test_repair.py tests all damages on logs without Spark. Here some of them, and in the slow
tests all of them, are tested on real tables.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable as WithoutSpark
from pyspark.sql import SparkSession

from jobs import repair_table
from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.integrity.detect import TableDamaged
from jobs.lake.integrity.hadoop_log import move_away
from jobs.lake.integrity.repair import NotRepairable
from jobs.lake.lake import Lake
from tests.jobs.lake.integrity.damages import (
    CHECKPOINTS,
    COMMITS,
    GARBLED_CHECKPOINT,
    HALF_A_CHECKPOINT,
    HALF_A_COMMIT,
    HALF_OF_COMMIT_5,
    LAST,
    NO_CHECKPOINT,
    NO_OLD_COMMITS,
    ONLY_CHECKSUMS,
    Damage,
    all_of,
    cases,
    cut,
    day,
    half,
    row_count,
)  # fmt: skip
from tests.jobs.repairable_table import TABLE, log_of, plan, run, write

DAMAGED_COMMITS = cases(COMMITS, quick={"half a commit", "only its checksums are left", "both"})
DAMAGED_CHECKPOINTS = cases(CHECKPOINTS, quick={"half a checkpoint", "half a hint"})
WORK = {
    "optimize": "optimize delta.`{table}`",
    "delete": "delete from delta.`{table}` where item_index = 3",
    "delete everything": "delete from delta.`{table}`",
    "alter": "alter table delta.`{table}` set tblproperties ('delta.logRetentionDuration' = 'interval 60 days')",
    "vacuum": "vacuum delta.`{table}`",
    "restore": "restore table delta.`{table}` to version as of 4",
    "insert nothing": "insert into delta.`{table}` select * from delta.`{table}` where false",
}


@pytest.fixture(scope="module")
def whole(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, str(tmp_path_factory.mktemp("whole") / "a lake"))
    for version in range(LAST + 1):
        write(lake, version)
    return lake


@pytest.fixture
def damaged(whole: Lake, tmp_path: Path) -> Lake:
    """A copy of the table's lake that a test may damage."""
    shutil.copytree(whole.uri, tmp_path / "a lake")
    return Lake(whole.spark, str(tmp_path / "a lake"))


def assert_refused(lake: Lake, fault: str) -> None:
    command = f"python -m jobs.repair_table --lake '{lake.uri}' --table {TABLE.name}"
    for use in (lake.read, lake.has, lake.version, lambda table: lake.overwrite(table, day(0), lake.read(table))):
        with pytest.raises(TableDamaged, match=re.escape(fault)) as error:
            use(TABLE)
        assert str(error.value).endswith(f"to restore it: {command}")
        assert lake.table_path(TABLE) in str(error.value)


def assert_whole(lake: Lake, version: int) -> None:
    assert lake.version(TABLE) == version
    assert lake.read(TABLE).count() == row_count(version)
    assert WithoutSpark(lake.table_path(TABLE)).version() == version
    assert len(WithoutSpark(lake.table_path(TABLE)).file_uris()) == 3


@pytest.mark.parametrize(("damage", "fault", "last"), DAMAGED_COMMITS)
def test_a_damaged_commit_is_named_and_moved_and_its_days_can_be_written_again(
    damaged: Lake, damage: Damage, fault: str, last: int, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(log_of(damaged))
    before = sorted(path.name for path in log_of(damaged).iterdir())
    assert_refused(damaged, fault)
    assert run(damaged, "--dry-run") > 0
    assert sorted(path.name for path in log_of(damaged).iterdir()) == before

    run(damaged)
    printed = capsys.readouterr().out
    assert fault in printed or "checkpoint 10" in printed
    assert f"the last whole version is {last}" in printed
    assert_whole(damaged, last)
    moved = sorted(path.name for path in (log_of(damaged).parent / "_damaged_log_1").iterdir())
    assert sorted([*moved, *(path.name for path in log_of(damaged).iterdir())]) == before  # nothing was deleted

    again = re.search("run again: (.*)", printed)
    assert (again is None) == (damage is ONLY_CHECKSUMS)
    if again is None:  # neither the commit nor Delta's checksum file exists
        assert "commit 11 had written unknown partitions" in printed
    else:
        assert set(again[1].split(", ")) == {f"ds={day(version)}" for version in range(last + 1, LAST + 1)}
    for version in range(last + 1, LAST + 1):
        write(damaged, version)
    assert_whole(damaged, LAST)
    assert run(damaged) == 0
    assert "nothing to repair" in capsys.readouterr().out


@pytest.mark.parametrize(("damage", "fault"), DAMAGED_CHECKPOINTS)
def test_a_damaged_checkpoint_alone_loses_nothing(damaged: Lake, damage: Damage, fault: str) -> None:
    damage(log_of(damaged))
    assert_refused(damaged, fault)
    assert run(damaged) > 0
    assert_whole(damaged, LAST)
    write(damaged, LAST + 1)
    assert_whole(damaged, LAST + 1)


def test_a_checkpoint_that_is_garbled_inside_is_found_by_the_repair(damaged: Lake) -> None:
    GARBLED_CHECKPOINT(log_of(damaged))
    assert run(damaged) > 0
    assert_whole(damaged, LAST)


def test_without_the_commits_before_it_a_damaged_checkpoint_is_not_repairable(damaged: Lake) -> None:
    NO_OLD_COMMITS(log_of(damaged))
    assert_whole(damaged, LAST)  # as Delta's own clean-up leaves it
    HALF_A_CHECKPOINT(log_of(damaged))
    before = sorted(path.name for path in log_of(damaged).iterdir())
    assert_refused(damaged, "checkpoint 10 is cut short")
    with pytest.raises(NotRepairable, match=r"checkpoint 10 .*nothing was changed"):
        run(damaged)
    assert sorted(path.name for path in log_of(damaged).iterdir()) == before
    assert not (log_of(damaged).parent / "_damaged_log_1").exists()


def test_an_old_commit_under_a_checkpoint_costs_its_own_versions_only(
    damaged: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    HALF_OF_COMMIT_5(log_of(damaged))
    assert_whole(damaged, LAST)
    assert damaged.read(TABLE, version=4).count() == row_count(4)
    assert damaged.read(TABLE, version=10).count() == row_count(10)
    with pytest.raises(TableDamaged, match=r"version 7 of table .* is lost: commit 5 is cut short"):
        damaged.read(TABLE, version=7)
    assert run(damaged) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_a_log_without_any_commit_is_not_an_empty_table(damaged: Lake) -> None:
    for path in log_of(damaged).glob("*.json"):
        path.unlink()
    assert_refused(damaged, "commit 0 is missing")
    with pytest.raises(NotRepairable):
        run(damaged)


def test_moved_files_survive_vacuum_and_a_second_repair(damaged: Lake, spark: SparkSession) -> None:
    for number in (1, 2):
        HALF_A_COMMIT(log_of(damaged))
        run(damaged)
        write(damaged, LAST)
        assert (log_of(damaged).parent / f"_damaged_log_{number}" / commit_name(LAST)).is_file()
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    try:
        spark.sql(f"vacuum delta.`{damaged.table_path(TABLE)}` retain 0 hours")
    finally:
        spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "true")
    assert (log_of(damaged).parent / "_damaged_log_1" / commit_name(LAST)).is_file()
    assert damaged.read(TABLE).count() == row_count(LAST)


def test_an_interrupted_repair_can_be_run_again(damaged: Lake) -> None:
    all_of(NO_CHECKPOINT, cut(commit_name(9), half, False))(log_of(damaged))
    found = plan(damaged.spark, damaged.table_path(TABLE))
    assert found
    move_away(damaged.spark, damaged.table_path(TABLE), found.files[:3])
    with pytest.raises(TableDamaged):
        damaged.read(TABLE)
    run(damaged)
    assert_whole(damaged, 8)


@pytest.mark.parametrize(("table", "message"), [("../x", "must be names"), ("absent", "there is no table absent")])
def test_a_malformed_or_unknown_name_is_refused(whole: Lake, table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        repair_table.main(["--lake", whole.uri, "--table", table])


def test_the_draft_of_an_interrupted_writer_is_no_damage(damaged: Lake) -> None:
    draft = f".{commit_name(LAST + 1)}.2fb0dd38-c7ef-4bfc-8a8d-fe359e1a8f10.tmp"
    for name in (draft, f".{draft}.crc"):
        (log_of(damaged) / name).write_bytes(b"")
    assert damaged.read(TABLE).count() == row_count(LAST)
    write(damaged, LAST + 1)
    assert damaged.version(TABLE) == LAST + 1


@pytest.mark.parametrize("work", cases({name: (work,) for name, work in WORK.items()}, quick={"optimize", "restore"}))
def test_operations_of_delta_are_no_damage(damaged: Lake, work: str) -> None:
    damaged.spark.sql(work.format(table=damaged.table_path(TABLE)))
    damaged.append(TABLE, damaged.read(TABLE).where("item_index > 100000").repartition(3))
    damaged.append(TABLE, damaged.read(TABLE).repartition(3))
    assert plan(damaged.spark, damaged.table_path(TABLE)) is None
