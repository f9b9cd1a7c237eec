"""Exports of publications into a real Redis server, with Spark."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import export_candidates
from jobs.lake.errors import TargetUnavailable
from jobs.lake.files import NoSuchLake
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving import read_candidates
from jobs.serving.export.redis_reader import read_lists
from tests.jobs.serving.export.published_lists import ALL_USERS, USERS, publish
from tests.marks import slow_after
from tests.no_session import no_session
from tests.processes import PATIENCE, isolated_process, wait_until
from tests.redis_server import client, redis_server

SECRET = "Tr0ub4dor-and-3"


def export(lake: Lake, to: str, *more: str) -> int:
    return export_candidates.main(["--lake", lake.uri, "--to", to, *more])


def documented_reader(uri: str) -> Callable[[str], dict[str, list] | None]:
    """The function read_list of docs/publication.md, with this server."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "publication.md").read_text("utf-8")
    (code,) = (block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "def read_list(" in block)
    assert "redis://127.0.0.1:6379/0" in code
    names: dict[str, Any] = {}
    exec(code.replace("redis://127.0.0.1:6379/0", uri), names)
    return names["read_list"]


def commands(uri: str, *names: str) -> int:
    """How often the server has run these commands."""
    counted = client(uri).info("commandstats")
    return sum(counted.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names)


def running_tasks(lake: Lake) -> int:
    """How many tasks Spark's executors run."""
    tracker = lake.spark.sparkContext._jsc.sc().statusTracker()
    return sum(executor.numRunningTasks() for executor in tracker.getExecutorInfos())


@pytest.mark.parametrize(("format_", "hours"), slow_after(2, [("json", 5), ("hash", 0), ("json", 0), ("hash", 5)]))
def test_readers_of_redis_get_the_published_lists(lists: Lake, server: str, format_: str, hours: int) -> None:
    publish(lists, 1)
    assert (
        export(lists, server, "--format", format_, "--prefix", "own", "--batch-users", "300", "--ttl-hours", str(hours))
        == USERS
    )
    redis = client(server)
    expiring = [key for key in redis.scan_iter("own:*:user:*", count=1_000) if 0 < redis.ttl(key) <= 3_600 * hours]
    assert len(expiring) == (USERS if hours else 0)
    found = read_lists(client(server), [*ALL_USERS, "nobody"], prefix="own")
    assert set(found) == set(ALL_USERS)
    published = read_candidates(lists.uri)
    assert len(published) == 2 * (USERS - 1)
    for user_id, rows in published.groupby("user_id"):
        for name in ("item_id", "source"):
            assert found[user_id][name] == rows[name].tolist()
        assert found[user_id]["score"] == pytest.approx(rows["score"].tolist(), rel=1e-7)
        assert found[user_id]["channel_score"] == [pytest.approx(0.7), None]
    assert found[ALL_USERS[0]] == {"item_id": [], "score": [], "source": [], "channel_score": []}


def test_the_same_publication_writes_nothing_and_a_rollback_only_the_pointer(
    lists: Lake, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lists, 1)
    export(lists, server)
    publish(lists, 2)
    export(lists, server)
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    written = commands(server, "mset", "set", "hset", "unlink")
    assert export(lists, server) == USERS
    assert commands(server, "mset", "unlink") == commands(server, "mset")
    assert commands(server, "mset", "set", "hset", "unlink") - written == 2  # the pointer and its description again
    publish(lists, 1)
    lists_written = commands(server, "mset")
    assert export(lists, server) == USERS
    assert commands(server, "mset") == lists_written
    assert read_lists(client(server), ["user: 0007"])["user: 0007"]["item_id"] == ["1-7", "i1"]


@pytest.mark.slow  # a process with a Spark session
def test_a_killed_export_is_continued_and_readers_have_the_earlier_lists_until_then(
    lists: Lake, tmp_path: Path
) -> None:
    publish(lists, 1)
    log = tmp_path / "log"
    with redis_server(tmp_path / "redis", "--requirepass", SECRET) as uri, log.open("w") as out:
        own = uri.replace("//", f"//:{SECRET}@", 1)
        redis = client(own)
        export(lists, own)
        assert documented_reader(own)("nobody") is None
        publish(lists, 2)
        before = commands(own, "mset")
        command = [
            sys.executable, "-m", "jobs.export_candidates", "--lake", lists.uri, "--to", uri, "--batch-users", "1",
        ]  # fmt: skip
        environment = {**os.environ, "BATCH_RECALL_REDIS_PASSWORD": SECRET}
        with isolated_process(command, stdout=out, stderr=subprocess.STDOUT, env=environment) as job:
            assert wait_until(lambda: commands(own, "mset") > before + 100, interval=0.001)
            redis.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")  # so that it cannot end before it is killed
            assert job.poll() is None
        redis.execute_command("CLIENT", "UNPAUSE")
        killed_at = commands(own, "mset") - before
        assert 100 < killed_at < USERS
        assert read_lists(redis, ["user: 0007"])["user: 0007"]["item_id"] == ["1-7", "i1"]
        assert export(lists, own, "--batch-users", "1") == USERS
        again = commands(own, "mset") - before - killed_at
        assert USERS - killed_at <= again <= USERS - killed_at + 8  # a list of each task was perhaps not recorded
        found = read_lists(redis, ALL_USERS)
        assert all(found[user]["item_id"][1] == "i2" for user in ALL_USERS[1:])
        assert len(found) == USERS
    assert SECRET not in log.read_text("utf-8")


@pytest.mark.parametrize("exports", slow_after(1, [3, 20]))
def test_a_reader_beside_exports_sees_lists_of_one_publication_only(lists: Lake, server: str, exports: int) -> None:
    publish(lists, 2)
    export(lists, server)
    ended, wrong, seen = threading.Event(), [], set()

    def read() -> None:
        redis, read_list, chance = client(server), documented_reader(server), random.Random(1)
        for _ in range(1_000_000):
            if ended.is_set():
                return
            users = chance.sample(ALL_USERS[1:], 50)
            found = read_lists(redis, users)
            items = {one["item_id"][1] for one in found.values()}
            seen.update(items)
            if len(found) != 50 or len(items) != 1 or len((read_list(users[0]) or {"item_id": []})["item_id"]) != 2:
                wrong.append((len(found), items))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(exports):
            publish(lists, 1 + number % 2)
            export(lists, server, "--keep-versions", "1")  # so that each one removes the lists that were read before
    finally:
        ended.set()
        reader.join(PATIENCE)
    assert not reader.is_alive()
    assert wrong == []
    assert seen == {"i1", "i2"}


def test_an_export_that_a_full_server_ends_is_continued_when_there_is_room(lists: Lake, server: str) -> None:
    publish(lists, 1)
    redis = client(server)
    empty = redis.info("memory")["used_memory"]
    export(lists, server)
    publish(lists, 2)
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", used + (used - empty) // 2)  # half of the lists; buffers of connections take a part
    with pytest.raises(TargetUnavailable, match=f"{server} must answer and have memory, got OutOfMemoryError"):
        export(lists, server, "--batch-users", "1")
    assert wait_until(lambda: not running_tasks(lists))  # those of the failed job write on until they notice
    assert read_lists(redis, ["user: 0007"])["user: 0007"]["item_id"] == ["1-7", "i1"]
    there = len(list(redis.scan_iter("recall:2026-03-02-*:user:*", count=1_000)))
    assert 10 < there < USERS
    redis.config_set("maxmemory", 0)
    before = commands(server, "mset")
    export(lists, server, "--batch-users", "1")
    assert USERS - there <= commands(server, "mset") - before <= USERS - there + 4  # one of each task perhaps again
    assert read_lists(redis, ["user: 0007"])["user: 0007"]["item_id"] == ["2-7", "i2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--to or export.target must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or a folder, got nothing"),
        (["--to", f"kafka://me:{SECRET}@host"], r"or a folder, got kafka://\.\.\."),
        (["--to", "redis://127.0.0.1:1", "--format", "parquet"], "must be json or hash for this target, got parquet"),
        (["--to", "folder", "--format", "hash"], "must be parquet or jsonl for this target, got hash"),
        (["--to", "folder", "--ttl-hours", "3"], "export.ttl_hours must be 0 for a folder, got 3"),
        (
            ["--to", "redis://127.0.0.1:1", "--ttl-hours", "-1"],
            "export: ttl_hours: .*greater than or equal to 0.*got -1",
        ),
        (["--to", "redis://127.0.0.1:1", "--prefix", "a*"], r"export: prefix: .*got 'a\*'"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake" / "gate" / "_delta_log").mkdir(parents=True)
    with pytest.raises(ValueError, match=message) as refused:
        export_candidates.main(["--lake", str(tmp_path / "lake"), *arguments])
    assert SECRET not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_a_lake_without_a_publication_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSuchLake, match="there is no lake at"):
        export_candidates.main(["--lake", str(tmp_path), "--to", "folder"])
    (tmp_path / "gate" / "_delta_log").mkdir(parents=True)
    with pytest.raises(NoSuchDay, match=f"nothing is published in {tmp_path}"):
        export_candidates.main(["--lake", str(tmp_path), "--to", "folder"])
    with pytest.raises(SystemExit):
        export_candidates.main(["--lake", str(tmp_path), "--to", "folder", "--ds", "2026-03-01"])
    assert "--ds must not be given" in capsys.readouterr().err
