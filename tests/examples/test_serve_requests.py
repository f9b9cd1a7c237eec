"""The example that serves nearest items: wrong requests, and later exports; a small model of random weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.examples.served import ask, served
from tests.model.towers.online.small_online import small_towers, write_small


def follow(folder: Path, version: str) -> None:
    draft = folder / "draft.json"
    draft.write_text(json.dumps({"version": version}), "utf-8")
    draft.replace(folder / "current.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    write_small(folder / "one")
    follow(folder, "one")
    with served(folder) as (address, _):
        yield address


def refused(address: str, body: bytes) -> str:
    with pytest.raises(HTTPError) as error:
        ask(address, body)
    assert error.value.code == 400
    return str(json.load(error.value)["error"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expecting property name"),
        (b"[1]", "a request must be an object of user_id, history, features and k, got [1]"),
        (b'{"user": "1"}', "a request must be an object of user_id, history, features and k, got {'user': '1'}"),
        (b'{"history": "a"}', "history must be a list of item ids, oldest first, got 'a'"),
        (b'{"history": null}', "history must be a list of item ids, oldest first, got None"),
        (b'{"history": [5]}', "history must have item ids as text, got 5"),
        (b'{"history": [null]}', "history must have item ids as text, got None"),
        (b'{"history": [[], "i0", "i1", "i2", "i3"]}', "history must have item ids as text, got []"),
        (b'{"features": {"taste": "a"}}', "taste must be a list, got 'a'"),
        (b'{"features": ' + b"[" * 100_000, "recursion"),
        (b'{"user_id": 5}', "user_id must be text, got 5"),
        (b'{"features": []}', "features must be values by name, got []"),
        (b'{"features": {"size": 4}}', "features must be among ['age', 'taste'], got ['size']"),
        (b'{"k": 0}', "k must be an integer of at least 1, got 0"),
        (b'{"k": 1.5}', "k must be an integer of at least 1, got 1.5"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_a_wrong_request_gets_400_and_what_is_wrong(address: str, body: bytes, message: str) -> None:
    assert message in refused(address, body)


def test_what_is_left_out_is_missing(address: str) -> None:
    assert len(ask(address, b"{}")["items"]) == 4
    assert len(ask(address, b'{"k": 3, "user_id": null}')["items"]) == 3


@pytest.mark.parametrize(
    ("length", "status"), [(None, 400), ("x", 400), ("-1", 400), ("1" * 5_000, 400), ("1048577", 413)]
)
def test_a_request_of_unknown_or_too_large_size_is_not_read(address: str, length: str | None, status: int) -> None:
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/")
    if length is not None:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (status, "close")
    assert "Content-Length must be 0 to 1048576, got" in json.load(answer)["error"]
    assert len(ask(address, b"{}")["items"]) == 4


def test_a_damaged_export_is_left_alone_and_a_later_one_followed(tmp_path: Path) -> None:
    write_small(tmp_path / "one")
    write_small(tmp_path / "two", small_towers("recency"))
    write_small(tmp_path / "three")
    (tmp_path / "two" / "user_tower.pt2").unlink()
    follow(tmp_path, "one")
    with served(tmp_path, "--poll", "0.01") as (address, printed):
        follow(tmp_path, "two")
        assert "still serving one: " in (line := printed.readline())
        assert "user_tower.pt2" in line
        assert ask(address, b"{}")["version"] == "one"
        (tmp_path / "current.json").write_bytes(b"\xff[")
        assert "current.json must name a version" in printed.readline()
        follow(tmp_path, "three")
        until = time.monotonic() + 120
        while (version := ask(address, b"{}")["version"]) != "three" and time.monotonic() < until:
            time.sleep(0.1)
        assert version == "three"
