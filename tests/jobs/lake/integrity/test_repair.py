"""The rules of a repair, on logs without Spark. tests/jobs/test_repair_table.py repairs real tables."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from jobs.lake.integrity.delta_log import HINT, commit_name
from jobs.lake.integrity.repair import NotRepairable, RepairPlan, describe, plan_repair
from tests.jobs.lake.integrity.damages import (
    CHECKPOINT,
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
    cut,
    day,
    half,
)
from tests.jobs.lake.integrity.synthetic_log import can_read, names, read_folder, write_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path / "table" / "_delta_log")
    return tmp_path / "table" / "_delta_log"


def plan(log: Path) -> RepairPlan | None:
    return plan_repair(read_folder(log), partial(can_read, log))


def repaired(log: Path) -> RepairPlan:
    """Plan a repair and delete the files that it would move."""
    found = plan(log)
    assert found is not None
    for name in found.files:
        (log / name).unlink()
    return found


def assert_whole(log: Path, version: int) -> None:
    listed = read_folder(log)
    assert listed.first_fault() is None
    assert listed.last_version == listed.commits[-1] == version
    assert plan(log) is None


def test_a_whole_log_has_nothing_to_repair(log: Path) -> None:
    assert_whole(log, LAST)


@pytest.mark.parametrize(("damage", "fault", "last"), COMMITS.values(), ids=COMMITS)
def test_a_damaged_commit_and_all_later_ones_are_moved(log: Path, damage: Damage, fault: str, last: int) -> None:
    damage(log)
    assert fault in str(read_folder(log).first_fault())
    before = names(log)
    found = repaired(log)
    said = describe("table", found)
    assert fault in said or "checkpoint 10" in said
    assert found.version == last
    assert f"the last whole version is {last}" in said
    assert list(found.files) == sorted(found.files, reverse=True)  # an interrupted repair can be run again
    assert sorted([*found.files, *names(log)]) == before
    assert list(found.lost) == list(range(last + 1, LAST + 1))
    again = re.search("run again: (.*)", said)
    assert (again is None) == (damage is ONLY_CHECKSUMS)
    if again is None:  # neither the commit nor Delta's checksum file exists
        assert "commit 11 had written unknown partitions" in said
    else:
        assert set(again[1].split(", ")) == {f"ds={day(version)}" for version in range(last + 1, LAST + 1)}
    assert_whole(log, last)


@pytest.mark.parametrize(("damage", "fault"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_damaged_checkpoint_alone_loses_nothing(log: Path, damage: Damage, fault: str) -> None:
    damage(log)
    # a local disk's checksum does not matter to a checkpoint: Spark reads it as a whole
    first = str(read_folder(log).first_fault())
    assert fault in first
    found = repaired(log)
    assert (found.version, found.lost) == (LAST, {})
    assert_whole(log, LAST)


def test_a_checkpoint_that_is_garbled_inside_is_found_by_reading_it(log: Path) -> None:
    GARBLED_CHECKPOINT(log)
    assert read_folder(log).first_fault() is None
    found = repaired(log)
    assert found.faults == ("checkpoint 10 is not readable",)
    assert CHECKPOINT in found.files
    assert HINT in found.files
    assert_whole(log, LAST)


def test_without_the_commits_before_it_a_damaged_checkpoint_is_not_repairable(log: Path) -> None:
    NO_OLD_COMMITS(log)
    assert_whole(log, LAST)  # as Delta's own clean-up leaves it
    HALF_A_CHECKPOINT(log)
    assert read_folder(log).first_fault() == "checkpoint 10 is cut short"
    with pytest.raises(NotRepairable, match=r"checkpoint 10 .*nothing was changed"):
        plan(log)


def test_a_damaged_commit_under_a_checkpoint_costs_its_own_versions_only(log: Path) -> None:
    HALF_OF_COMMIT_5(log)
    assert_whole(log, LAST)
    listed = read_folder(log)
    assert listed.first_fault(4) is listed.first_fault(10) is None
    assert "commit 5 is cut short" in str(listed.first_fault(7))


def test_a_log_without_any_commit_is_not_an_empty_table(log: Path) -> None:
    for path in log.glob("*.json"):
        path.unlink()
    assert read_folder(log).first_fault() == "commit 0 is missing"
    with pytest.raises(NotRepairable):
        plan(log)


def test_an_interrupted_repair_can_be_run_again(log: Path) -> None:
    all_of(NO_CHECKPOINT, cut(commit_name(9), half, False))(log)
    found = plan(log)
    assert found is not None
    for name in found.files[:3]:
        (log / name).unlink()
    assert read_folder(log).first_fault() is not None
    assert repaired(log).version == 8
    assert_whole(log, 8)


def test_the_draft_of_an_interrupted_writer_is_no_damage(log: Path) -> None:
    draft = f".{commit_name(LAST + 1)}.2fb0dd38-c7ef-4bfc-8a8d-fe359e1a8f10.tmp"
    for name in (draft, f".{draft}.crc"):
        (log / name).write_bytes(b"")
    assert_whole(log, LAST)


def test_a_dry_plan_changes_nothing(log: Path) -> None:
    HALF_A_COMMIT(log)
    before = names(log)
    assert plan(log) == plan(log) is not None
    assert names(log) == before
