"""A table whose `_delta_log` is damaged, back at its last whole version.

Moves the first damaged commit and all later ones, damaged checkpoints and a bad `_last_checkpoint` into the folder
_damaged_log_N of the table, which Delta and VACUUM leave alone. Deletes nothing. Prints what is lost: run it again.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.cli.run import run
from jobs.lake.files import hadoop
from jobs.lake.integrity.delta_log import HINT, VERSIONED, DeltaLog, Unreadable, commit_name, raw, read_log
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session


class NotRepairable(ValueError):
    """No version of the table can be put together from what is left; nothing was changed."""


@dataclass(frozen=True)
class Repair:
    """What is to be moved, and what that costs."""

    version: int  # the table's, afterwards
    faults: tuple[str, ...]
    moved: tuple[str, ...]  # file names, the newest first: a repair that is cut off can be run again
    lost: dict[int, list[str]]  # commits, and the partitions that each had written; none where that is not known


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="folder of all tables: a path or any Hadoop URI")
    parser.add_argument("--table", required=True, help="name of the table: its folder in the lake")
    parser.add_argument("--variant", help="the table of this variant's model")
    parser.add_argument("--dry-run", action="store_true", help="say what would be moved, and move nothing")
    parser.add_argument("--master", help="Spark master of an embedded session (default local[*])")
    return parser


def repair(log: DeltaLog) -> Repair | None:
    """What brings the table back to its last whole version; None where nothing is damaged.

    Raises NotRepairable where neither the commits nor a checkpoint lead to any version.
    """
    commits, checkpoints = _damaged_commits(log), _damaged_checkpoints(log)
    faults = [f"checkpoint {number} {fault}" for number, fault in checkpoints.items()]
    all_faults = faults + [f"commit {number} {fault}" for number, fault in commits.items()]
    version = max(_reach(log, commits, base) for base in {-1, *log.checkpoints} - {*checkpoints})
    if version < 0:
        first = all_faults[0] if all_faults else "its first commits are missing"
        raise NotRepairable(f"{log.table}: {first}, and what is left leads to no version; nothing was changed")
    # a bad commit that a later checkpoint covers hurts no reader of the newest version, and stays
    faults += [f"commit {number} {fault}" for number, fault in commits.items() if number > version]
    moved = [name for name in log.places if _version(name) > version]
    moved += [name for number in checkpoints if number <= version for name in _checkpoint_files(log, number)]
    hint = log.hint_fault()
    if hint or (log.hint is not None and _hinted(log.hint) in {*checkpoints, *range(version + 1, log.last_trace + 1)}):
        moved += [name for name in (HINT, f".{HINT}.crc") if name in log.places]
        faults += [hint] if hint else []
    if not moved:
        return None
    lost = {number: written(log, number) for number in range(version + 1, log.last_trace + 1)}
    return Repair(version, tuple(faults), tuple(sorted(moved, reverse=True)), lost)


def written(log: DeltaLog, version: int) -> list[str]:
    """The partitions that a commit has written, as far as what is left of it or Delta's own checksum file tells."""
    name = commit_name(version)
    text = log.read(name, checked=False).decode("utf-8", "replace") if name in log.places else ""
    found = {_partition(json.loads(values)) for values in re.findall(r'"partitionValues":(\{[^{}]*\})', text)}
    for predicate in re.findall(r'"predicate":"(ds [^"]*)', text):
        found |= {f"ds={day}" for day in re.findall(r"DATE'(\d{4}-\d{2}-\d{2})'", predicate)}
    before, after = (_files(log, number) for number in (version - 1, version))
    if before is not None and after is not None:
        found |= {{**before, **after}[path] for path in before.keys() ^ after.keys()}
    return sorted(found)


def move(log: DeltaLog, names: Sequence[str]) -> str:
    """Move files of the log into a new folder beside it; returns its name."""
    filesystem, table = hadoop(log.spark, log.table)
    filesystem = raw(filesystem)  # hidden checksums are moved by name, also those that were left behind
    path = log.spark._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
    number = 1
    while filesystem.exists(path(table, f"_damaged_log_{number}")):
        number += 1
    folder = path(table, f"_damaged_log_{number}")
    filesystem.mkdirs(folder)
    for name in names:
        if not filesystem.rename(path(table, f"_delta_log/{name}"), path(folder, name)):
            raise OSError(f"could not move _delta_log/{name} of {log.table}; run the repair again")
    log.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]  # it remembers versions
    return str(folder.getName())


def report(log: DeltaLog, found: Repair) -> str:
    """What is damaged and lost, a line each."""
    lines = [f"{log.table}: {fault}" for fault in found.faults]
    lines.append(f"the last whole version is {found.version}; {len(found.lost)} later commits are lost")
    for number, partitions in found.lost.items():
        lines.append(f"commit {number} had written {', '.join(partitions) or 'partitions that it no longer tells'}")
    if days := sorted({partition for partitions in found.lost.values() for partition in partitions}):
        lines.append(f"run again: {', '.join(days)}")
    if found.lost:
        lines.append(
            f"versions from {found.version + 1} on are numbered anew: publish again what pointed to one of them"
        )
    return "\n".join(lines)


def table_log(spark: SparkSession, uri: str, name: str, variant: str | None) -> DeltaLog:
    """Raises ValueError where the names are none, or there is no such table."""
    if bad := [part for part in (name, variant or "main") if not re.fullmatch(r"[A-Za-z0-9_-]+", part)]:
        raise ValueError(f"wants the name of a table in the lake, and of a variant, got {bad[0]!r}")
    lake = Lake(spark, uri, variant)
    path = lake.path(name) if variant is None else lake.model_path(name)
    log = read_log(spark, path)
    if log is None:
        raise ValueError(f"there is no table {name} in {path}")
    return log


def _damaged_commits(log: DeltaLog) -> dict[int, str]:
    """Each commit between the first that is there and the last trace of one."""
    damaged = {}
    for version in range(min(log.commits, default=0), log.last_trace + 1):
        try:
            log.check_commit(version)
        except Unreadable as fault:
            damaged[version] = str(fault)
    return damaged


def _damaged_checkpoints(log: DeltaLog) -> dict[int, str]:
    """Every checkpoint is read in full."""
    damaged = {}
    for version, names in log.checkpoints.items():
        try:
            log.check_checkpoint(version)
            for name in names:
                file = log.spark.read.format("json" if name.endswith("json") else "parquet")
                file.load(f"{log.table}/_delta_log/{name}").write.format("noop").mode("append").save()
        except Unreadable as fault:
            damaged[version] = str(fault)
        except Exception as error:
            if not isinstance(error, PySparkException) and "FAILED_READ_FILE" not in str(error):
                raise
            damaged[version] = "is not readable"
    return damaged


def _reach(log: DeltaLog, damaged: dict[int, str], base: int) -> int:
    """The version to which whole commits lead on from a checkpoint (-1: from none); -1 where to none."""
    there = set(log.commits) - damaged.keys()
    version = base
    while version + 1 in there:
        version += 1
    return version if version in there else -1


def _version(name: str) -> int:
    match = VERSIONED.match(name)
    return int(match[1]) if match else -1


def _hinted(hint: bytes) -> int:
    return int(json.loads(hint)["version"])


def _checkpoint_files(log: DeltaLog, version: int) -> list[str]:
    return [name for name in log.places if _version(name) == version and ".checkpoint." in name]


def _partition(values: dict[str, Any]) -> str:
    return "/".join(f"{name}={value}" for name, value in values.items())


def _files(log: DeltaLog, version: int) -> dict[str, str] | None:
    """The files of a version and their partitions, as Delta's checksum file lists them for small tables."""
    name = f"{version:020d}.crc"
    try:
        listed = json.loads(log.read(name)).get("allFiles") if name in log.places else None
    except (Unreadable, ValueError):
        return None
    return None if listed is None else {file["path"]: _partition(file["partitionValues"]) for file in listed}


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    log = table_log(spark_session("repair_table", args.master), args.lake, args.table, args.variant)
    found = repair(log)
    if found is None:
        print(f"nothing to repair in {log.table}")
        return 0
    print(report(log, found))
    folder = None if args.dry_run else move(log, found.moved)
    print(f"{'would be moved' if folder is None else f'moved to {folder}'}: {', '.join(sorted(found.moved))}")
    return len(found.moved)


if __name__ == "__main__":
    run(main)
