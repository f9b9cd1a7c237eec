"""The files of a Delta table's `_delta_log`, and which of them are damaged. Uses neither Spark nor a file system.

Delta reads an empty commit, or one that is cut off at the end of a line, as a smaller commit: rows are lost or
duplicated without an error. Therefore the files are checked here, in addition to Delta's own errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

# A leading dot marks a checksum file that Hadoop writes on a local disk. Drafts of a file do not match: .tmp is Spark's
# ending, #1 that of delta-rs.
VERSIONED = re.compile(r"\.?(\d{20})\.(?!.*(?:\.tmp|#\d+)$)")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)")
HINT = "_last_checkpoint"
MAGIC = b"PAR1"
# Commits that were found whole. They never change, so a job that opens a table again need not read them again.
WHOLE_COMMITS: set[tuple[str, str, Hashable]] = set()


class UnreadableFile(ValueError):
    """A file of the log is missing or damaged. The message is a predicate about the file, such as "is empty"."""


class LogStorage(Protocol):
    """Access to the files of one `_delta_log` folder; can be implemented in memory, without a file system."""

    def size(self, name: str) -> int:
        """The size of a file in bytes."""

    def identity(self, name: str) -> Hashable:
        """A value that changes with the contents of a file, such as its size and modification time; None if unknown."""

    def read(self, name: str, start: int = 0, *, verify_checksum: bool = True) -> bytes:
        """The bytes from `start` to the end. Raises UnreadableFile if they do not match a stored checksum."""


@dataclass(frozen=True)
class DeltaLog:
    """One listing of a log. Versions are those of the table; `hint` is the contents of `_last_checkpoint`."""

    table: str  # path or URI
    names: Collection[str]  # of all files, hidden ones included
    storage: LogStorage
    hint: bytes | None = None

    @property
    def commits(self) -> list[int]:
        """The versions that have a commit file, in ascending order."""
        return sorted(int(name[:20]) for name in self.names if re.fullmatch(r"\d{20}\.json", name))

    @property
    def checkpoints(self) -> dict[int, list[str]]:
        """The files of each checkpoint that has all its parts, by version."""
        found: dict[int, list[str]] = {}
        for name in sorted(self.names):
            if match := CHECKPOINT.fullmatch(name):
                found.setdefault(int(match[1]), []).append(name)
        return {version: names for version, names in found.items() if _has_all_parts(names)}

    @property
    def last_version(self) -> int:
        """The highest version in any file name except drafts; -1 if there is none."""
        return max((version_of(name) for name in self.names), default=-1)

    @property
    def readable_versions(self) -> list[int]:
        """The versions that can be rebuilt from a first commit or a checkpoint; Delta's clean-up removes older ones."""
        commits = self.commits
        if not commits or commits[0] == 0:
            return commits
        first = min(self.checkpoints, default=commits[-1] + 1)
        return [number for number in commits if number >= first]

    def first_fault(self, version: int | None = None) -> str | None:
        """The first fault that affects `version` (default: the newest); None if there is none.

        Old commits that a checkpoint covers may be missing. They are not checked.
        """
        commits = self.commits
        newest = commits[-1] if commits else -1
        if self.last_version > newest:
            return f"commit {newest + 1} is missing"  # its checksum or its checkpoint still exists
        if newest < 0 or (version is not None and version not in commits):
            return None  # no table, or a version for which Delta itself raises an error
        if fault := self.hint_fault():
            return fault
        target = newest if version is None else version
        base = max((number for number in self.checkpoints if number <= target), default=-1)
        if base < 0 and commits[0] > 0 and version is not None:
            return None  # removed by Delta's clean-up: Delta itself raises an error
        checked = f"checkpoint {base}"
        try:
            if base >= 0:
                self.check_checkpoint(base)
            for number in range(min(base + 1, target), target + 1):
                checked = f"commit {number}"
                self.check_commit(number)
        except UnreadableFile as fault:
            return f"{checked} {fault}"
        return None

    def check_commit(self, version: int) -> None:
        """Raises UnreadableFile if a commit is missing or incomplete."""
        name = commit_name(version)
        if name not in self.names:
            raise UnreadableFile("is missing")
        identity = self.storage.identity(name)
        if identity is None or (self.table, name, identity) not in WHOLE_COMMITS:
            check_actions(version, list(actions(self.storage.read(name))))
            if identity is not None:
                WHOLE_COMMITS.add((self.table, name, identity))

    def check_checkpoint(self, version: int) -> None:
        """Raises UnreadableFile if a part of a checkpoint does not end like a Parquet file."""
        for name in self.checkpoints.get(version, []):
            size = self.storage.size(name)
            if size == 0:
                raise UnreadableFile("is empty")
            if name.endswith(".parquet"):
                tail = self.storage.read(name, max(size - 8, 0))
                if size < 12 or tail[-4:] != MAGIC or int.from_bytes(tail[:4], "little") > size - 12:
                    raise UnreadableFile("is cut short")

    def hint_fault(self) -> str | None:
        """The fault of `_last_checkpoint`; None if it has none or does not exist."""
        if self.hint is None:
            return None
        try:
            version = int(json.loads(self.hint)["version"])
        except (ValueError, KeyError, TypeError):
            return f"{HINT} is not readable"
        return None if version in self.checkpoints else f"{HINT} names checkpoint {version}, which does not exist"


def commit_name(version: int) -> str:
    return f"{version:020d}.json"


def version_of(name: str) -> int:
    """The version to which a file of the log belongs; -1 if it belongs to none."""
    match = VERSIONED.match(name)
    return int(match[1]) if match else -1


def actions(text: bytes) -> Iterator[dict[str, Any]]:
    """The actions of a commit, one per line. Raises UnreadableFile at the first line that is not an action."""
    if not text.strip():
        raise UnreadableFile("is empty")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            action = json.loads(line)
        except ValueError as error:  # also for a cut inside a character
            raise UnreadableFile(f"is cut short or garbled in line {number}") from error
        if not isinstance(action, dict):
            raise UnreadableFile(f"has no action in line {number}")
        yield action


def check_actions(version: int, found: list[dict[str, Any]]) -> None:
    """Raises UnreadableFile if a first commit has no schema, or if a commit has fewer actions than its metrics say."""
    kinds = [kind for action in found for kind in action]
    if version == 0 and not {"protocol", "metaData"} <= set(kinds):
        raise UnreadableFile("is cut short: it has no schema")
    info: dict[str, Any] = next((action["commitInfo"] for action in found if "commitInfo" in action), {})
    if info.get("operation") not in ("WRITE", "OPTIMIZE"):
        return
    metrics = info.get("operationMetrics") or {}
    removed = int(metrics.get("numRemovedFiles", 0))
    if kinds.count("remove") < removed:
        raise UnreadableFile(f"is cut short: it lists {kinds.count('remove')} of the {removed} files that it removed")
    # rows are compared instead of files, because Delta counts empty files but does not list them
    rows = [json.loads(action["add"].get("stats") or "{}").get("numRecords") for action in found if "add" in action]
    written = int(metrics.get("numOutputRows", 0))
    if None not in rows and sum(rows) < written:
        raise UnreadableFile(f"is cut short: it lists {sum(rows)} of the {written} rows that it wrote")


def _has_all_parts(names: list[str]) -> bool:
    """Whether a checkpoint is complete: it is one file, or has as many parts as its file names say."""
    parts = [match for name in names if (match := CHECKPOINT.fullmatch(name)) and match[3]]
    return len(parts) < len(names) or len(parts) >= int(parts[0][3])
