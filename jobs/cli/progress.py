"""Records how far an attempt at a stretch of a day has come, so that the next attempt skips the jobs that ended.

After each job, progress/<ds>/progress.json in the lake names the jobs that ended and the newest commit of every table.
The next attempt skips them only if nothing that they read or wrote has changed since: the code, the configuration, the
arguments and the blocklist are the same, and no table has a newer commit. Every commit of an attempt is marked with the
attempt's id. If another writer commits during an attempt, the record is removed, because a job may have read the rows
before that commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.cli.run import TEMPORARY
from jobs.config.loading import Config
from jobs.lake.files import delta_paths, glob_statuses, hadoop_path, put_folder, read_text
from jobs.lake.lake import Lake
from jobs.lake.session.settings import CODE, MARK

FILE = "progress.json"
OUTPUT = ("log_format", "verbose")  # arguments that decide no row
PART = re.compile(r'"([A-Za-z_][\w.]*):[A-Za-z_]\w*"')  # in JSON: "package.module:Class"
Commit = list[int]  # version of a table, and length and modification time of the commit's file


class Progress:
    """The record of one attempt at a stretch. names: the jobs of the stretch, in order."""

    def __init__(self, lake: Lake, folder: str, inputs: str, names: Sequence[str]) -> None:
        self.lake, self.folder, self.inputs, self.names = lake, folder, inputs, names
        self.id = uuid.uuid4().hex
        self.commits: dict[str, Commit] | None = newest_commits(lake, {})  # None: another writer has committed
        self.done = self._done_before()

    def _done_before(self) -> list[str]:
        """The first jobs of the stretch if an earlier attempt ended them and nothing has changed since."""
        try:
            record = json.loads(read_text(lambda: self.lake.spark, f"{self.folder}/{FILE}") or "null")
        except json.JSONDecodeError:  # the store was interrupted while it wrote the file
            record = None
        same = {"inputs": self.inputs, "names": [*self.names], "commits": self.commits}
        is_known = bool(self.commits)  # Hadoop lists no table of a lake with one of *?[]{} in its path
        return record["done"] if is_known and record and {name: record[name] for name in same} == same else []

    def job_ended(self, name: str) -> None:
        """Record that the next job of the stretch has ended."""
        self.done.append(name)
        if self.commits is not None:
            now = newest_commits(self.lake, self.commits)
            self.commits = now if self._all_mine(self.commits, now) else None
        if self.commits is None:
            self.clear()
        elif len(self.done) < len(self.names):
            record = {"inputs": self.inputs, "names": [*self.names], "commits": self.commits, "done": self.done}
            with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder:
                (Path(folder) / FILE).write_text(json.dumps(record), "utf-8")
                put_folder(self.lake.spark, Path(folder), self.folder)

    def _all_mine(self, before: dict[str, Commit], now: dict[str, Commit]) -> bool:
        """Whether this attempt made every commit between two states of the lake."""
        return before.keys() <= now.keys() and all(
            f'"userMetadata":"{self.id}"' in (read_text(lambda: self.lake.spark, commit_file(path, number)) or "")
            for path, (version, *_) in now.items()
            for number in range(before.get(path, [-1])[0] + 1, version + 1)
        )

    def clear(self) -> None:
        """Remove the record: the next attempt runs every job."""
        filesystem, path = hadoop_path(self.lake.spark, self.folder)
        filesystem.delete(path, True)


@contextmanager
def recorded(lake: Lake, config: Config, args: argparse.Namespace, names: Sequence[str]) -> Iterator[Progress]:
    """The progress of the stretch `names` of the day `args.ds`.

    The record is removed when the stretch has ended, and when it stops with a user error (exit code 2), for which a job
    that ended may be the reason: the next attempt then runs every job.
    """
    folder = lake.path("progress", str(args.ds))
    progress = Progress(lake, folder, hash_of_inputs(lake, config, args), names)
    given = lake.spark.conf.get(MARK, None)
    lake.spark.conf.set(MARK, progress.id)
    try:
        yield progress
        progress.clear()
    except ValueError as error:
        if not isinstance(error, TEMPORARY):
            progress.clear()
        raise
    finally:
        lake.spark.conf.unset(MARK)
        if given is not None:
            lake.spark.conf.set(MARK, given)


def hash_of_inputs(lake: Lake, config: Config, args: argparse.Namespace) -> str:
    """A hash of what decides the rows of a day besides the tables: code, configuration, arguments, blocklist."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    decisive = {name: value for name, value in vars(args).items() if name not in OUTPUT}
    digest.update(repr(sorted(decisive.items())).encode())
    for status in glob_statuses(lake.spark, config.exclusions.blocklist) if config.exclusions.blocklist else ():
        digest.update(repr(size_and_time(status)).encode())
    files = [CODE] if CODE.is_file() else sorted(path for name in ("jobs", "model", "sql") for path in files_in(name))
    for file in files:
        digest.update(f"{file.relative_to(CODE)}\n".encode() + file.read_bytes())
    for file in modules_of_parts(config):
        digest.update(f"{file}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def modules_of_parts(config: Config) -> list[Path]:
    """The files of the modules that the configuration names as "package.module:Class"; not what they import."""
    files = set()
    for module in PART.findall(config.model_dump_json()):
        with suppress(ImportError, ValueError):  # the job that needs the part says that it cannot be imported
            if (spec := find_spec(module)) is not None and spec.origin is not None:
                files.add(Path(spec.origin))
    return sorted(file for file in files if file.is_file())


def files_in(folder: str) -> list[Path]:
    """The files of a top-level folder of the code, without compiled ones."""
    return [path for path in (CODE / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]


def newest_commits(lake: Lake, known: dict[str, Commit]) -> dict[str, Commit]:
    """The newest commit of every table of the lake, by path of the table. known: where the search starts."""
    found = {}
    for path in delta_paths(lake.spark, lake.uri).values():
        commit = known.get(path) or last_listed(lake, path)
        while commit is not None:
            found[path] = commit
            commit = commit_of(lake, path, commit[0] + 1)
    return found


def last_listed(lake: Lake, path: str) -> Commit | None:
    """A table's newest commit, found by listing its log; None if its first commit was interrupted."""
    names = [str(status.getPath().getName()) for status in glob_statuses(lake.spark, commit_file(path, "*"))]
    versions = [int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdigit()]
    return commit_of(lake, path, max(versions)) if versions else None


def commit_of(lake: Lake, path: str, version: int) -> Commit | None:
    statuses = glob_statuses(lake.spark, commit_file(path, version))
    return [version, *size_and_time(statuses[0])] if statuses else None


def commit_file(path: str, version: int | str) -> str:
    return f"{path}/_delta_log/{version if isinstance(version, str) else f'{version:020}'}.json"


def size_and_time(status: Any) -> tuple[int, int]:
    return int(status.getLen()), int(status.getModificationTime())
