"""Writes lists into Redis, on executors: one value per user, in pipelines, with a record of how far each file is.

The value of a user is text in the form of JSON (LIST_COLUMNS in `versions.py`): in the format `json` one string, an
object with an array per column; in the format `hash` a hash with a field per column, each an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import redis
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.serving.export.versions import LIST_COLUMNS

WRITTEN = "file string, users long"


@dataclass(frozen=True)
class Keys:
    """The names of the keys of an export, below a prefix."""

    prefix: str

    @property
    def current(self) -> str:
        """A string: the name of the version that readers follow."""
        return f"{self.prefix}:current"

    @property
    def versions(self) -> str:
        """A sorted set: each version, with the last publication that is or was exported as this version."""
        return f"{self.prefix}:versions"

    @property
    def removed(self) -> str:
        """A set: versions whose lists are being removed."""
        return f"{self.prefix}:removed"

    def info(self, name: str) -> str:
        """A hash: the description of a version, and `complete` once all of its lists are there."""
        return f"{self.prefix}:{name}:info"

    def progress(self, name: str) -> str:
        """A hash: for each file of the table candidates, how many of its first lists are there."""
        return f"{self.prefix}:{name}:progress"

    def user(self, name: str, user_id: str) -> str:
        """A user's list: a string or a hash."""
        return f"{self.prefix}:{name}:user:{user_id}"

    def version_of(self, key: str) -> str:
        """The name of the version that a key below the prefix is of."""
        return key[len(self.prefix) + 1 :].partition(":")[0]


class VersionRemoved(Exception):
    """A later export has removed the version that is being written."""


@dataclass(frozen=True)
class ListWriter:
    """What executors need to write lists of a version. url: with its credentials. done: rows of files that are there.

    ttl_seconds: after which a list expires; 0: never.
    """

    url: str = field(repr=False)
    keys: Keys
    name: str
    format: str
    batch_users: int
    ttl_seconds: int
    done: Mapping[str, int]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write rows (file, user_id, columns of `encoded`), each file in its order; returns rows (file, users written).

        Raises VersionRemoved, and what redis raises.
        """
        seen: dict[str, int] = {}
        written: dict[str, int] = {}
        with connected(self.url) as client:
            for batch in batches:
                for file in pc.unique(batch["file"]).to_pylist():
                    rows = batch.filter(pc.equal(batch["file"], file))
                    first, skipped = seen.get(file, 0), self.done.get(file, 0)
                    seen[file] = first + len(rows)
                    rows = rows.slice(min(max(skipped - first, 0), len(rows)))
                    for start in range(0, len(rows), self.batch_users):
                        part = rows.slice(start, self.batch_users)
                        end = seen[file] - len(rows) + start + len(part)
                        self._write(client, part, file, end)
                    written[file] = written.get(file, 0) + len(rows)
        yield pa.RecordBatch.from_pydict({"file": list(written), "users": list(written.values())}, _WRITTEN_TYPES)

    def _write(self, client: redis.Redis, rows: pa.RecordBatch, file: str, end: int) -> None:
        """Write some lists, then record that the first `end` rows of the file are there."""
        if client.zscore(self.keys.versions, self.name) is None:
            raise VersionRemoved(self.name)
        users = [self.keys.user(self.name, user_id) for user_id in rows["user_id"].to_pylist()]
        pipeline = client.pipeline(transaction=False)
        if self.format == "json":
            values = dict(zip(users, rows["list"].to_pylist(), strict=True))
            if not self.ttl_seconds:
                pipeline.mset(values)
            for user, value in values.items() if self.ttl_seconds else ():
                pipeline.set(user, value, ex=self.ttl_seconds)
        else:
            columns = [rows[name].to_pylist() for name in LIST_COLUMNS]
            for user, *texts in zip(users, *columns, strict=True):
                pipeline.hset(user, mapping=dict(zip(LIST_COLUMNS, texts, strict=True)))
                if self.ttl_seconds:
                    pipeline.expire(user, self.ttl_seconds)
        pipeline.execute()  # raises if one of the commands failed
        client.hset(self.keys.progress(self.name), file, str(end))


_WRITTEN_TYPES = pa.schema([("file", pa.string()), ("users", pa.int64())])


def connected(url: str) -> redis.Redis:
    """A client, also a context manager. Texts are str. It gives up on a server that does not answer for 30 s."""
    return redis.Redis.from_url(url, decode_responses=True, socket_timeout=30, socket_connect_timeout=10)


def encoded(lists: DataFrame, format_: str) -> DataFrame:
    """Rows (file, user_id) with the text of each list: a column `list`, or one for each of LIST_COLUMNS.

    lists: rows (file, user_id, candidates, ...).
    """
    arrays = {name: F.col("candidates")[name] for name in LIST_COLUMNS}
    if format_ == "json":
        values = [F.to_json(F.struct(*(array.alias(name) for name, array in arrays.items()))).alias("list")]
    else:
        values = [F.to_json(array).alias(name) for name, array in arrays.items()]
    return lists.select("file", "user_id", *values)
