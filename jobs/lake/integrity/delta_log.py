"""What lies in a Delta table's `_delta_log`, through Hadoop's FileSystem, and what of it is damaged.

Delta reads an empty commit, or one that ends early at the end of a line, as a smaller commit: rows go or double without
an error. So the files are looked at here, not only Delta's errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.lake.files import hadoop

# A leading dot: the checksum that Hadoop keeps on a local disk. What a writer renames when it is whole is no trace.
VERSIONED = re.compile(r"\.?(\d{20})\.(?!.*\.tmp$)")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)")
HINT = "_last_checkpoint"
MAGIC = b"PAR1"
# Commits that were found whole: they do not change, and a job opens a table many times.
WHOLE: set[tuple[str, str, int, int]] = set()


class Unreadable(ValueError):
    """A file of the log is not what was written; the message says how."""


@dataclass(frozen=True)
class DeltaLog:
    """One listing of a log. Versions are Delta's; `hint` is the text of `_last_checkpoint`."""

    spark: SparkSession
    table: str  # path or URI
    places: dict[str, int]  # file names, hidden ones too, and where the listing has them
    statuses: Any
    hint: bytes | None

    @property
    def commits(self) -> list[int]:
        return sorted(int(name[:20]) for name in self.places if re.fullmatch(r"\d{20}\.json", name))

    @property
    def checkpoints(self) -> dict[int, list[str]]:
        """The files of each checkpoint that has all its parts."""
        found: dict[int, list[str]] = {}
        for name in sorted(self.places):
            if match := CHECKPOINT.fullmatch(name):
                found.setdefault(int(match[1]), []).append(name)
        return {version: names for version, names in found.items() if _complete(names)}

    @property
    def last_trace(self) -> int:
        """The highest version that any file names, but for drafts; -1 without one."""
        return max((int(match[1]) for name in self.places if (match := VERSIONED.match(name))), default=-1)

    def size(self, name: str) -> int:
        return int(self.statuses[self.places[name]].getLen())

    def read(self, name: str, start: int = 0, *, checked: bool = True) -> bytes:
        """A file's bytes; raises Unreadable where they do not fit the checksum that a local disk has beside them."""
        filesystem, path = hadoop(self.spark, f"{self.table}/_delta_log/{name}")
        filesystem = filesystem if checked else raw(filesystem)
        try:
            return _bytes(self.spark, filesystem, path, start)
        except Py4JJavaError as error:
            if "ChecksumException" in str(error.java_exception):
                raise Unreadable("does not fit its checksum") from error
            raise

    def check_commit(self, version: int) -> None:
        """Raises Unreadable where a commit is missing or not whole."""
        name = commit_name(version)
        if name not in self.places:
            raise Unreadable("is missing")
        status = self.statuses[self.places[name]]
        key = (self.table, name, int(status.getLen()), int(status.getModificationTime()))
        if key not in WHOLE:
            check_actions(version, list(actions(self.read(name))))
            WHOLE.add(key)

    def check_checkpoint(self, version: int) -> None:
        """Raises Unreadable where a part of a checkpoint does not end like a Parquet file."""
        for name in self.checkpoints.get(version, []):
            size = self.size(name)
            if size == 0:
                raise Unreadable("is empty")
            if name.endswith(".parquet"):
                tail = self.read(name, max(size - 8, 0))
                if size < 12 or tail[-4:] != MAGIC or int.from_bytes(tail[:4], "little") > size - 12:
                    raise Unreadable("is cut short")

    def hint_fault(self) -> str | None:
        """What is wrong with `_last_checkpoint`; it may be missing."""
        if self.hint is None:
            return None
        try:
            version = int(json.loads(self.hint)["version"])
        except (ValueError, KeyError, TypeError):
            return f"{HINT} is not readable"
        return None if version in self.checkpoints else f"{HINT} names checkpoint {version}, which is not there"


def read_log(spark: SparkSession, table: str) -> DeltaLog | None:
    """List the log of a table; None where there is none."""
    filesystem, folder = hadoop(spark, f"{table}/_delta_log")
    try:
        hint_path = hadoop(spark, f"{table}/_delta_log/{HINT}")[1]  # before the listing, which then has what it names
        try:
            hint = _bytes(spark, filesystem, hint_path, 0) if filesystem.exists(hint_path) else None
        except Py4JJavaError as error:
            if "ChecksumException" not in str(error.java_exception):
                raise
            hint = b""
        statuses = raw(filesystem).listStatus(folder)
    except Py4JJavaError as error:
        if "FileNotFoundException" in str(error.java_exception):
            return None
        raise
    jvm: Any = spark._jvm
    listed = spark.sparkContext._gateway.new_array(jvm.org.apache.hadoop.fs.FileStatus, len(statuses))  # type: ignore[union-attr]
    jvm.java.lang.System.arraycopy(statuses, 0, listed, 0, len(statuses))  # py4j takes no array of a store's own kind
    paths = jvm.org.apache.hadoop.fs.FileUtil.stat2Paths(listed)
    lines = jvm.scala.Predef.genericWrapArray(paths).mkString("\n")  # all in one call: each takes a moment
    found = [line.rsplit("/", 1)[-1] for line in lines.splitlines()]
    return DeltaLog(spark, table, {name: place for place, name in enumerate(found)}, statuses, hint)


def raw(filesystem: Any) -> Any:
    """A local disk with the checksums that Hadoop hides on it: one that a lost commit leaves breaks the next write."""
    return filesystem.getRawFileSystem() if filesystem.getUri().getScheme() == "file" else filesystem


def commit_name(version: int) -> str:
    return f"{version:020d}.json"


def actions(text: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a commit; raises Unreadable at the first that is no action."""
    if not text.strip():
        raise Unreadable("is empty")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            action = json.loads(line)
        except ValueError as error:  # a cut inside a letter, too
            raise Unreadable(f"is cut short or garbled in line {number}") from error
        if not isinstance(action, dict):
            raise Unreadable(f"holds no action in line {number}")
        yield action


def check_actions(version: int, held: list[dict[str, Any]]) -> None:
    """Raises Unreadable where lines are missing that the commit itself counts, or that a first commit has."""
    kinds = [kind for action in held for kind in action]
    if version == 0 and not {"protocol", "metaData"} <= set(kinds):
        raise Unreadable("is cut short: it names no schema")
    about: dict[str, Any] = next((action["commitInfo"] for action in held if "commitInfo" in action), {})
    if about.get("operation") not in ("WRITE", "OPTIMIZE"):
        return
    metrics = about.get("operationMetrics") or {}
    removed = int(metrics.get("numRemovedFiles", 0))
    if kinds.count("remove") < removed:
        raise Unreadable(f"is cut short: it holds {kinds.count('remove')} of {removed} files that it removed")
    # rows, because Delta counts files without a row and then does not name them
    rows = [json.loads(action["add"].get("stats") or "{}").get("numRecords") for action in held if "add" in action]
    written = int(metrics.get("numOutputRows", 0))
    if None not in rows and sum(rows) < written:
        raise Unreadable(f"is cut short: it holds {sum(rows)} of {written} rows that it wrote")


def _complete(names: list[str]) -> bool:
    parts = [match for name in names if (match := CHECKPOINT.fullmatch(name)) and match[3]]
    return len(parts) < len(names) or len(parts) >= int(parts[0][3])


def _bytes(spark: SparkSession, filesystem: Any, path: Any, start: int) -> bytes:
    stream = filesystem.open(path)
    try:
        stream.seek(start)
        return bytes(spark._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))  # type: ignore[union-attr]
    finally:
        stream.close()
