"""Exports into Redis that run between two steps of another one, forced to the moment; without Spark."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from jobs.serving.export.redis_reader import read_lists
from jobs.serving.export.redis_target import RedisTarget
from jobs.serving.export.versions import ExportConflict, Version
from tests.redis_server import client

USERS, FILE = ("u1", "u2"), "f.parquet"


def version_of(letter: str, publication: int) -> Version:
    """A version of two lists in one file."""
    files: Any = SimpleNamespace(files=pl.DataFrame({"path": [f"ds=2026-03-01/{FILE}"], "rows": [len(USERS)]}))
    name = f"2026-03-01-json-{letter * 12}"
    return Version(name, publication, dt.date(2026, 3, 1), "m", ord(letter), len(USERS), "json", files)


def target_at(uri: str, ttl_hours: int = 0) -> RedisTarget:
    return RedisTarget(uri, "recall", 10, ttl_hours)


def put_lists(target: RedisTarget, version: Version, letter: str) -> None:
    """What executors write."""
    for user in USERS:
        target._client.set(target.keys.user(version.name, user), f'{{"item_id": ["{letter}"]}}')
    target._client.hset(target.keys.progress(version.name), FILE, str(len(USERS)))


def complete(target: RedisTarget, version: Version) -> None:
    """The last step of a write, of which all lists are there."""
    target.write(None, version)  # type: ignore[arg-type]


def export(target: RedisTarget, letter: str, publication: int, kept: int = 2) -> tuple[Version, bool, int]:
    """The version, whether it was there, and how many versions were removed."""
    version, is_there = target.begin(version_of(letter, publication))
    if not is_there:
        put_lists(target, version, letter)
        complete(target, version)
    target.switch(version)
    return version, is_there, target.remove_old(version, kept, lambda _: False)


def between(target: RedisTarget, method: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do `act` once, between the first decision of a method about a transaction and the transaction itself."""
    own, acts = getattr(target, method), [act]

    def decide_then_act(*args: Any, **more: Any) -> Any:
        result = own(*args, **more)
        if acts:
            acts.pop()()
        return result

    monkeypatch.setattr(target, method, decide_then_act)


def letters(uri: str) -> list[str]:
    """What readers find in the lists of the users."""
    return [found["item_id"][0] for found in read_lists(client(uri), USERS).values()]


def test_a_version_that_is_removed_before_its_last_step_is_not_marked_complete(server: str) -> None:
    slow = target_at(server)
    version, _ = slow.begin(version_of("a", 1))
    put_lists(slow, version, "a")
    export(target_at(server), "b", 2, kept=1)
    put_lists(slow, version, "a")  # the last lists came late
    with pytest.raises(ExportConflict, match=f"a later export has removed {version.name}"):
        complete(slow, version)
    assert not client(server).exists(slow.keys.info(version.name))


def test_a_version_that_is_removed_during_its_last_step_is_not_marked_complete(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = target_at(server)
    version, _ = slow.begin(version_of("a", 1))
    put_lists(slow, version, "a")
    between(slow, "_complete", lambda: export(target_at(server), "b", 2, kept=1), monkeypatch)
    with pytest.raises(ExportConflict, match=f"a later export has removed {version.name}"):
        complete(slow, version)
    assert not client(server).exists(slow.keys.info(version.name))
    assert export(target_at(server), "a", 3)[1] is False  # a rollback writes the lists again
    assert letters(server) == ["a", "a"]


def test_a_rest_of_a_description_is_no_version(server: str) -> None:
    target, redis = target_at(server), client(server)
    redis.hset(target.keys.info(version_of("a", 1).name), "complete", "1")
    assert target.begin(version_of("a", 1))[1] is False
    assert redis.hget(target.keys.info(version_of("a", 1).name), "complete") is None


def test_a_slow_removal_leaves_lists_that_were_written_again(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    export(target_at(server), "a", 1)
    export(target_at(server), "b", 2)
    slow = target_at(server)
    version, _ = slow.begin(version_of("c", 3))
    put_lists(slow, version, "c")
    complete(slow, version)
    slow.switch(version)

    def overtake() -> None:
        export(target_at(server), "c", 3)  # the same export, which removes what is left of "a"
        assert export(target_at(server), "a", 4)[0].name == version_of("a", 4).name  # a rollback, under the old name

    between(slow, "_unlink_some", overtake, monkeypatch)
    slow.remove_old(version, 2, lambda _: False)
    assert letters(server) == ["a", "a"]
    assert client(server).hget(slow.keys.info(version_of("a", 4).name), "complete") == "1"


def test_lists_that_never_expire_are_written_again_where_they_should(server: str) -> None:
    export(target_at(server), "a", 1)
    version, is_there, _ = export(target_at(server, ttl_hours=24), "a", 1)
    assert (version.name, is_there) == (f"{version_of('a', 1).name}.2", False)


def test_an_older_name_of_the_same_lists_does_not_stay_in_place_of_earlier_lists(server: str) -> None:
    target, redis = target_at(server, ttl_hours=24), client(server)
    export(target, "a", 1)
    export(target, "b", 2)
    redis.expire(target.keys.info(version_of("b", 2).name), 11 * 3_600)
    version, _, removed = export(target, "b", 2)
    assert (version.name, removed) == (f"{version_of('b', 2).name}.2", 1)
    assert sorted(redis.zrange(target.keys.versions, 0, -1)) == [version_of("a", 1).name, version.name]
