"""The rules of a repair: which files of a damaged Delta log are moved away, which version remains, what is lost.

`plan_repair(log, can_read)` needs no Spark. `can_read` tells whether all rows of a checkpoint's file can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from jobs.lake.integrity.delta_log import HINT, DeltaLog, UnreadableFile, commit_name, version_of


class NotRepairable(ValueError):
    """No version of the table can be restored from the remaining files; nothing was changed."""


@dataclass(frozen=True)
class RepairPlan:
    """The files to move out of the log, and the commits that are lost."""

    version: int  # of the table after the repair
    faults: tuple[str, ...]
    files: tuple[str, ...]  # names, the newest first, so that an interrupted repair can be run again
    lost: dict[int, list[str]]  # lost commits with the partitions that each had written; empty where unknown


def plan_repair(log: DeltaLog, can_read: Callable[[str], bool]) -> RepairPlan | None:
    """The plan that restores the last whole version of the table; None if nothing is damaged.

    Raises NotRepairable if no version can be built from the remaining commits and checkpoints.
    """
    commits, checkpoints = _damaged_commits(log), _damaged_checkpoints(log, can_read)
    version = _last_whole_version(log, commits, checkpoints)
    if version < 0:
        raise NotRepairable(
            f"{log.table}: {_first_fault(commits, checkpoints)}, and no version can be restored from the "
            "other files; nothing was changed"
        )
    hint = _is_hint_damaged(log, version, checkpoints)
    files = [name for name in log.names if version_of(name) > version]
    files += [name for number in checkpoints if number <= version for name in _checkpoint_files(log, number)]
    files += [name for name in (HINT, f".{HINT}.crc") if hint and name in log.names]
    if not files:
        return None
    faults = [f"checkpoint {number} {fault}" for number, fault in checkpoints.items()]
    # a damaged commit that a later checkpoint covers does not affect the newest version, and is not moved
    faults += [f"commit {number} {fault}" for number, fault in commits.items() if number > version]
    faults += [fault] if (fault := log.hint_fault()) else []
    lost = {number: written_partitions(log, number) for number in range(version + 1, log.last_version + 1)}
    return RepairPlan(version, tuple(faults), tuple(sorted(files, reverse=True)), lost)


def written_partitions(log: DeltaLog, version: int) -> list[str]:
    """The partitions that a commit has written, as far as the rest of its file or Delta's checksum files name them."""
    name = commit_name(version)
    text = log.storage.read(name, verify_checksum=False).decode("utf-8", "replace") if name in log.names else ""
    found = {_partition(json.loads(values)) for values in re.findall(r'"partitionValues":(\{[^{}]*\})', text)}
    for predicate in re.findall(r'"predicate":"(ds [^"]*)', text):
        found |= {f"ds={day}" for day in re.findall(r"DATE'(\d{4}-\d{2}-\d{2})'", predicate)}
    before, after = (_data_files(log, number) for number in (version - 1, version))
    if before is not None and after is not None:
        found |= {{**before, **after}[path] for path in before.keys() ^ after.keys()}
    return sorted(found)


def describe(table: str, plan: RepairPlan) -> str:
    """What is damaged and lost, one line each, and which days to run again."""
    lines = [f"{table}: {fault}" for fault in plan.faults]
    lines.append(f"the last whole version is {plan.version}; {len(plan.lost)} later commits are lost")
    for number, partitions in plan.lost.items():
        lines.append(f"commit {number} had written {', '.join(partitions) or 'unknown partitions'}")
    if days := sorted({partition for partitions in plan.lost.values() for partition in partitions}):
        lines.append(f"run again: {', '.join(days)}")
    if plan.lost:
        lines.append(
            f"version numbers from {plan.version + 1} on will be used again: publish again if a publication names one"
        )
    return "\n".join(lines)


def _damaged_commits(log: DeltaLog) -> dict[int, str]:
    """The fault of each damaged or missing commit, from the first existing one to the last version in a file name."""
    damaged = {}
    for version in range(min(log.commits, default=0), log.last_version + 1):
        try:
            log.check_commit(version)
        except UnreadableFile as fault:
            damaged[version] = str(fault)
    return damaged


def _damaged_checkpoints(log: DeltaLog, can_read: Callable[[str], bool]) -> dict[int, str]:
    """The fault of each damaged checkpoint; every file is read as a whole."""
    damaged = {}
    for version, names in log.checkpoints.items():
        try:
            log.check_checkpoint(version)
        except UnreadableFile as fault:
            damaged[version] = str(fault)
        else:
            if not all(map(can_read, names)):
                damaged[version] = "is not readable"
    return damaged


def _last_whole_version(log: DeltaLog, commits: Collection[int], checkpoints: Collection[int]) -> int:
    """The last version that can be built from undamaged commits and checkpoints; -1 if there is none."""
    whole = set(log.commits) - set(commits)

    def last_from(base: int) -> int:
        version = base
        while version + 1 in whole:
            version += 1
        return version if version in whole else -1

    return max(last_from(base) for base in {-1, *log.checkpoints} - set(checkpoints))


def _is_hint_damaged(log: DeltaLog, version: int, checkpoints: Collection[int]) -> bool:
    """Whether `_last_checkpoint` is damaged, or names a damaged checkpoint or one of a later version."""
    if log.hint is None:
        return False
    if log.hint_fault():
        return True
    hinted = int(json.loads(log.hint)["version"])
    return hinted in checkpoints or version < hinted <= log.last_version


def _first_fault(commits: dict[int, str], checkpoints: dict[int, str]) -> str:
    faults = [f"checkpoint {number} {fault}" for number, fault in checkpoints.items()]
    faults += [f"commit {number} {fault}" for number, fault in commits.items()]
    return faults[0] if faults else "its first commits are missing"


def _checkpoint_files(log: DeltaLog, version: int) -> list[str]:
    return [name for name in log.names if version_of(name) == version and ".checkpoint." in name]


def _data_files(log: DeltaLog, version: int) -> dict[str, str] | None:
    """The data files of a version and their partitions; None if Delta's checksum file does not list them."""
    name = f"{version:020d}.crc"
    try:
        listed = json.loads(log.storage.read(name)).get("allFiles") if name in log.names else None
    except (UnreadableFile, ValueError):
        return None
    return None if listed is None else {file["path"]: _partition(file["partitionValues"]) for file in listed}


def _partition(values: dict[str, Any]) -> str:
    return "/".join(f"{name}={value}" for name, value in values.items())
