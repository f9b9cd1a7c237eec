"""Redis as a target of exports: which versions are there, which one readers follow, and which are removed.

Several exports may run at the same time. Every change of the keys below is a transaction that fails if one of the keys
that it was decided on has changed, and is then decided again. A name whose lists are being removed is not used again
before they are gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis
from pyspark.errors import PythonException
from redis.client import Pipeline

from jobs.lake.errors import TargetUnavailable
from jobs.lake.file_layout import one_task_per_file
from jobs.lake.lake import Lake
from jobs.serving.export.redis_address import checked_address
from jobs.serving.export.redis_writer import WRITTEN, Keys, ListWriter, VersionRemoved, connected, encoded
from jobs.serving.export.versions import ExportConflict, Version, lists_in_files, lists_of
from model.training.processes.lines import say

FORMATS = ("json", "hash")
SCANNED = 1_000  # keys that one step of a removal looks at and removes
RAISED = re.compile(r"redis\.exceptions\.(\w+): ([^\n]*)")  # in the traceback of a task
TEMPORARY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.OutOfMemoryError)
# redis counts these as ConnectionError
PERMANENT = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
Result = TypeVar("Result")


class RedisTarget:
    """The keys below a prefix in one database of a server."""

    def __init__(self, uri: str, prefix: str, batch_users: int, ttl_hours: int) -> None:
        """uri: redis://[USER:PASSWORD@]HOST[:PORT][/DB]. Raises ValueError that does not show it."""
        self._url, self.shown = checked_address(uri)
        self.keys, self.batch_users, self.ttl_seconds = Keys(prefix), batch_users, 3_600 * ttl_hours
        self._client: Any = connected(self._url)  # its types are bytes | str; texts are str here

    def begin(self, version: Version) -> tuple[Version, bool]:
        """Enter a version into the target; returns it with the name that it has there, and whether it is complete.

        Raises ExportConflict if readers follow a later publication, TargetUnavailable, and ValueError if the server
        may evict lists.
        """
        with self._errors():
            self._require_no_eviction()
            return self._transaction(partial(self._begin, version=version))

    def write(self, lake: Lake, version: Version) -> None:
        """Write the lists that are not there yet. Raises ValueError if not all lists have been written."""
        expected = version.rows
        with self._errors():
            done = {file: int(rows) for file, rows in self._client.hgetall(self.keys.progress(version.name)).items()}
            if earlier := sum(min(done.get(file, 0), rows) for file, rows in expected.items()):
                say(f"{earlier:,} of {version.users:,} lists are there from an earlier run")
            missing = [file for file, rows in expected.items() if done.get(file, 0) < rows]
            writer = ListWriter(
                self._url, self.keys, version.name, version.format, self.batch_users, self.ttl_seconds, done
            )
            if missing:
                lists = encoded(lists_in_files(lake, version, missing), version.format)
                with one_task_per_file(lake.spark):
                    lists.mapInArrow(writer, WRITTEN).collect()  # a row per file
            keys = self.keys.info(version.name), self.keys.progress(version.name)
            self._transaction(partial(self._complete, version=version), *keys)

    def switch(self, version: Version) -> bool:
        """Make readers follow a complete version; returns whether they followed another one before.

        Raises ExportConflict if they follow a later publication, or if a later export has removed the version.
        """
        with self._errors():
            return self._transaction(partial(self._switch, version=version), self.keys.info(version.name))

    def remove_old(self, version: Version, kept: int, is_stale: Callable[[int], bool]) -> int:
        """Remove versions of earlier publications, and what an earlier removal left; returns how many versions.

        kept: complete versions that stay, `version` among them. is_stale: whether the lists of a candidates_version
        must go in any case.
        """
        with self._errors():
            lists = {lists_of(version.name)}  # those that stay
            names = self._client.zrevrangebyscore(self.keys.versions, version.publication, "-inf")
            for name in names:
                info = self._client.hgetall(self.keys.info(name))
                if name == version.name:
                    continue
                is_whole = _is_entered(info) and "complete" in info and not is_stale(int(info["candidates_version"]))
                if is_whole and len(lists) < kept and lists_of(name) not in lists:
                    lists.add(lists_of(name))
                    continue
                self._transaction(partial(self._forget, name=name, publication=version.publication))
            return self._unlink(self._client.smembers(self.keys.removed))

    def _begin(self, pipeline: Pipeline, version: Version) -> tuple[Version, bool]:
        self._require_newest(pipeline, version)
        names = (version.name if number == 1 else f"{version.name}.{number}" for number in count(1))
        name = next(name for name in names if self._is_usable(pipeline, name))
        info = pipeline.hgetall(self.keys.info(name))
        number = max(version.publication, int(pipeline.zscore(self.keys.versions, name) or 0))
        pipeline.multi()
        pipeline.zadd(self.keys.versions, {name: number})
        if not _is_entered(info):
            pipeline.delete(self.keys.info(name), self.keys.progress(name))
            pipeline.hset(self.keys.info(name), mapping=version.description)  # type: ignore[arg-type]
            pipeline.hset(self.keys.progress(name), "", "0")  # so that the key exists and can expire
            for key in (self.keys.info(name), self.keys.progress(name)) if self.ttl_seconds else ():
                pipeline.expire(key, self.ttl_seconds)  # before the first list
        return version.named(name), _is_entered(info) and "complete" in info

    def _is_usable(self, pipeline: Pipeline, name: str) -> bool:
        """Whether a version of this name can be written or followed: not removed, and it expires as it should."""
        if pipeline.sismember(self.keys.removed, name):
            return False
        left = pipeline.ttl(self.keys.info(name))  # -1: never expires; -2: there is none
        return left == -2 or (0 < self.ttl_seconds <= 2 * left if self.ttl_seconds else left == -1)

    def _switch(self, pipeline: Pipeline, version: Version) -> bool:
        self._require_newest(pipeline, version)
        is_complete = pipeline.hexists(self.keys.info(version.name), "complete")
        if pipeline.zscore(self.keys.versions, version.name) is None or not is_complete:
            raise ExportConflict(f"a later export has removed {version.name} from {self.shown}")
        before = pipeline.get(self.keys.current)
        pipeline.multi()
        pipeline.set(self.keys.current, version.name)
        pipeline.hset(self.keys.info(version.name), "publication", str(version.publication))
        return before != version.name

    def _require_newest(self, pipeline: Pipeline, version: Version) -> None:
        current = pipeline.get(self.keys.current)
        followed = pipeline.zscore(self.keys.versions, current) if current is not None else None
        if followed is not None and followed > version.publication:
            raise ExportConflict(
                f"the exported publication must not be before that in {self.shown}, which is {int(followed)}, got "
                f"{version.publication}"
            )

    def _complete(self, pipeline: Pipeline, version: Version) -> None:
        """Record that all lists are there.

        Raises ValueError if a file has fewer or more lists than the table's log, and ExportConflict if a later export
        has removed the version.
        """
        info = pipeline.hgetall(self.keys.info(version.name))
        progress = pipeline.hgetall(self.keys.progress(version.name))
        if pipeline.zscore(self.keys.versions, version.name) is None or not _is_entered(info):
            raise ExportConflict(f"a later export has removed {version.name} from {self.shown}")
        pipeline.multi()
        if "complete" in info:
            return  # another run of the same export was faster
        written = {file: int(rows) for file, rows in progress.items() if file}
        if written != {file: rows for file, rows in version.rows.items() if rows}:
            raise ValueError(
                f"{self.shown} must have {version.users:,} lists of {version.name}, got {sum(written.values()):,}; "
                "readers keep the earlier ones: run the job again"
            )
        pipeline.hset(self.keys.info(version.name), "complete", "1")
        pipeline.delete(self.keys.progress(version.name))

    def _forget(self, pipeline: Pipeline, name: str, publication: int) -> None:
        """Move a version from those that can be followed to those that are being removed, unless it is followed."""
        followed, number = pipeline.get(self.keys.current), pipeline.zscore(self.keys.versions, name)
        pipeline.multi()
        if name != followed and number is not None and number <= publication:
            pipeline.zrem(self.keys.versions, name)
            pipeline.sadd(self.keys.removed, name)
            pipeline.delete(self.keys.info(name), self.keys.progress(name))

    def _unlink(self, names: set[str]) -> int:
        """Remove the lists of these versions, step by step, so that the server answers others in between."""
        left, cursor, is_first = set(names), 0, True
        while left and (cursor or is_first):
            cursor, found = self._client.scan(cursor, match=f"{self.keys.prefix}:*", count=SCANNED)
            is_first = False
            if any(self.keys.version_of(key) in left for key in found):
                left = self._transaction(partial(self._unlink_some, keys=found, names=left))
        if left:
            self._client.srem(self.keys.removed, *left)
        return len(left)

    def _unlink_some(self, pipeline: Pipeline, keys: list[str], names: set[str]) -> set[str]:
        """Remove keys of versions that are still being removed; returns these versions.

        Another run may have finished a removal, and then an export may have written lists under the same name.
        """
        left = names & pipeline.smembers(self.keys.removed)
        obsolete = [key for key in keys if self.keys.version_of(key) in left]
        pipeline.multi()
        if obsolete:
            pipeline.unlink(*obsolete)
        return left

    def _transaction(self, change: Callable[[Pipeline], Result], *keys: str) -> Result:
        """Run a change until no other client has changed the keys that it was decided on."""
        while True:
            with self._client.pipeline() as pipeline:
                try:
                    pipeline.watch(self.keys.current, self.keys.versions, self.keys.removed, *keys)
                    result = change(pipeline)
                    pipeline.execute()
                    return result
                except redis.WatchError:
                    continue

    def _require_no_eviction(self) -> None:
        memory = self._client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        evicts = policy.startswith(("allkeys", "volatile") if self.ttl_seconds else "allkeys")
        if memory.get("maxmemory") and evicts:
            raise ValueError(f"maxmemory-policy of {self.shown} must be noeviction, got {policy}: lists would be lost")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise TargetUnavailable or ValueError for an error of the server, here or in a task."""
        try:
            yield
        except PythonException as error:
            raised = RAISED.findall(str(error))
            if VersionRemoved.__name__ in str(error):
                raise ExportConflict(f"a later export has removed what this one writes to {self.shown}") from error
            if not raised:
                raise
            name, text = raised[-1]
            raise self._error(getattr(redis.exceptions, name, redis.RedisError), text) from error
        except redis.RedisError as error:
            raise self._error(type(error), str(error)) from error

    def _error(self, kind: type[Exception], text: str) -> ValueError:
        password = urlsplit(self._url).password
        for secret in (password, unquote(password)) if password else ():
            text = text.replace(secret, "...")
        if issubclass(kind, TEMPORARY) and not issubclass(kind, PERMANENT):
            return TargetUnavailable(f"{self.shown} must answer and have memory, got {kind.__name__}: {text}")
        return ValueError(f"{self.shown} must accept the export, got {kind.__name__}: {text}")


def _is_entered(info: Container[Any]) -> bool:
    """Whether the description of a version is whole, and no rest of one that was removed."""
    return "publication" in info
