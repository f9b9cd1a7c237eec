"""Which versions are in Redis, which one readers follow, and what is removed: without Spark."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.lake.errors import TargetUnavailable
from jobs.serving.export.redis_reader import read_lists
from jobs.serving.export.redis_target import RedisTarget
from jobs.serving.export.versions import ExportConflict, Version
from tests.redis_server import client, redis_server

SECRET = "Tr0ub4dor-and-3"


def version_of(letter: str, publication: int) -> Version:
    """A version of the lists `letter`. No test here reads its files."""
    name, files = f"2026-03-01-json-{letter * 12}", None
    return Version(name, publication, dt.date(2026, 3, 1), "m", ord(letter), 2, "json", files)  # type: ignore[arg-type]


def target_at(uri: str, ttl_hours: int = 0) -> RedisTarget:
    return RedisTarget(uri, "recall", 10, ttl_hours)


def exported(target: RedisTarget, letter: str, publication: int, kept: int = 2, **more: Any) -> tuple[Version, int]:
    """Export two lists that name the letter; returns the version and how many versions were removed."""
    version, is_complete = target.begin(version_of(letter, publication))
    if not is_complete:
        for user in ("u1", "u2"):
            target._client.set(target.keys.user(version.name, user), f'{{"item_id": ["{letter}"]}}')
        target._client.hset(target.keys.info(version.name), "complete", "1")
    target.switch(version)
    return version, target.remove_old(version, kept, more.get("is_stale", lambda _: False))


def names(target: RedisTarget) -> list[str]:
    """The letters of the versions that have a list in the server."""
    return sorted({key.split("-json-")[1][0] for key in target._client.scan_iter("recall:*:user:*")})


def test_the_last_versions_stay_and_readers_follow_the_newest(server: str) -> None:
    target = target_at(server)
    for number, letter in enumerate("abcd", start=1):
        _, removed = exported(target, letter, number)
        assert removed == (number > 2)
        lists = read_lists(client(server), ["u1", "nobody", "u2"])
        assert lists == {"u1": {"item_id": [letter]}, "u2": {"item_id": [letter]}}
    assert names(target) == ["c", "d"]
    assert not client(server).exists(target.keys.removed)


def test_a_rollback_finds_the_lists_of_the_earlier_export(server: str) -> None:
    target = target_at(server)
    exported(target, "a", 1)
    exported(target, "b", 2)
    assert target.begin(version_of("a", 3))[1]
    exported(target, "a", 3)
    assert read_lists(client(server), ["u1"])["u1"] == {"item_id": ["a"]}
    exported(target, "c", 4)
    assert names(target) == ["a", "c"]  # the last two that readers followed


def test_an_export_of_an_earlier_publication_is_refused_and_removes_nothing(server: str) -> None:
    target = target_at(server)
    late, _ = target.begin(version_of("a", 1))
    exported(target, "b", 2)
    for refused in (lambda: target.begin(version_of("c", 1)), lambda: target.switch(late)):
        with pytest.raises(ExportConflict, match=r"must not be before that in redis://.*, which is 2, got 1"):
            refused()
    target.remove_old(late, 1, lambda _: False)
    assert read_lists(client(server), ["u1"])["u1"] == {"item_id": ["b"]}


def test_what_another_export_writes_for_a_later_publication_is_not_removed(server: str) -> None:
    target = target_at(server)
    exported(target, "a", 1)
    exported(target, "b", 2)
    later, is_complete = target.begin(version_of("a", 4))
    assert is_complete
    exported(target, "c", 3, kept=1)
    assert names(target) == ["a", "c"]
    target.switch(later)


def test_a_name_whose_lists_are_being_removed_is_not_used_and_the_removal_is_finished_later(server: str) -> None:
    target = target_at(server)
    exported(target, "a", 1)
    exported(target, "b", 2)
    redis = client(server)
    redis.zrem(target.keys.versions, version_of("a", 1).name)  # as a removal that was killed leaves it
    redis.sadd(target.keys.removed, version_of("a", 1).name)
    redis.delete(target.keys.info(version_of("a", 1).name))
    again, is_complete = target.begin(version_of("a", 3))
    assert (again.name, is_complete) == (f"{version_of('a', 3).name}.2", False)
    version, removed = exported(target, "a", 3)
    assert (version.name, removed) == (again.name, 1)
    assert read_lists(redis, ["u1"])["u1"] == {"item_id": ["a"]}
    assert not list(redis.scan_iter(f"recall:{version_of('a', 1).name}:*"))


def test_a_version_with_forgotten_users_does_not_stay(server: str) -> None:
    target = target_at(server)
    exported(target, "a", 1)
    exported(target, "b", 2, is_stale=lambda candidates_version: candidates_version == ord("a"))
    assert names(target) == ["b"]


def test_a_version_that_soon_expires_is_not_followed_again(server: str) -> None:
    target, redis = target_at(server, ttl_hours=24), client(server)
    version, _ = exported(target, "a", 1)
    info = target.keys.info(version.name)
    assert 86_000 < redis.ttl(info) <= 86_400
    assert target.begin(version_of("a", 2)) == (version_of("a", 2), True)
    redis.expire(info, 40_000)
    assert target.begin(version_of("a", 3))[0].name == f"{version.name}.2"
    assert target_at(server).begin(version_of("a", 3))[0].name == f"{version.name}.3"  # both others expire


def test_many_keys_of_others_stay_and_a_removal_takes_all_of_its_own(server: str) -> None:
    target, redis = target_at(server), client(server)
    for letter in "ab":
        version, _ = target.begin(version_of(letter, 1))
        redis.mset({target.keys.user(version.name, f"u:{number}"): "x" for number in range(5_000)})
    redis.mset({f"recalled:{number}": "x" for number in range(5_000)})
    assert exported(target, "c", 2)[1] == 2
    assert len(list(redis.scan_iter("recalled:*", count=1_000))) == 5_000
    assert redis.dbsize() == 5_000 + 6  # and two lists, info, progress, current, versions


def test_a_server_that_is_not_there_is_said_to_be_unavailable_within_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(TargetUnavailable, match=r"redis://127\.0\.0\.1:1/0 must answer .*ConnectionError.*refused"):
        target_at(f"redis://me:{SECRET}@127.0.0.1:1/0").begin(version_of("a", 1))
    assert time.monotonic() - began < 20


def test_a_password_is_taken_from_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server(tmp_path, "--requirepass", SECRET) as uri:
        for wrong in (uri, uri.replace("//", "//me:guessed@", 1)):
            with pytest.raises(ValueError, match="must accept the export, got AuthenticationError") as refused:
                target_at(wrong).begin(version_of("a", 1))
            assert not isinstance(refused.value, TargetUnavailable)
            assert "guessed" not in str(refused.value)
        monkeypatch.setenv("BATCH_RECALL_REDIS_PASSWORD", SECRET)
        target = target_at(uri)
        exported(target, "a", 1)
        assert target.shown == uri


def test_a_server_that_may_evict_lists_is_refused(server: str) -> None:
    client(server).config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ValueError, match=f"maxmemory-policy of {server} must be noeviction, got allkeys-lru"):
        target_at(server).begin(version_of("a", 1))
    client(server).config_set("maxmemory-policy", "volatile-ttl")
    target_at(server).begin(version_of("a", 1))
    with pytest.raises(ValueError, match="must be noeviction, got volatile-ttl"):
        target_at(server, ttl_hours=1).begin(version_of("a", 1))


def test_a_reader_that_was_overtaken_by_two_exports_reads_again(server: str) -> None:
    target, redis = target_at(server), client(server)
    exported(target, "a", 1)

    class Overtaken:
        """A client whose first look-up comes after two more exports."""

        def __getattr__(self, name: str) -> Any:
            return getattr(redis, name)

        def mget(self, keys: list[str]) -> Any:
            if ":2026-03-01-json-aaa" in keys[0]:
                exported(target, "b", 2)
                exported(target, "c", 3)
            return redis.mget(keys)

    assert read_lists(Overtaken(), ["u1", "u2"]) == {"u1": {"item_id": ["c"]}, "u2": {"item_id": ["c"]}}
    assert read_lists(redis, []) == {}
    assert read_lists(redis, ["u1"], prefix="nobody") == {}
