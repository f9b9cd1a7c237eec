"""The example that serves nearest items, on the trained model of the simulated lake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import polars as pl
import pytest

from jobs import export_user_tower
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.towers.online import OnlineModel, User
from tests.conftest import DAYS, SMALL
from tests.examples.scripts import started_example
from tests.no_session import no_session

DAY = DAYS[2]


@pytest.fixture(scope="module")
def folder(simulated: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported user tower of the simulated lake."""
    target = tmp_path_factory.mktemp("served") / "online"
    export_user_tower.main(["--lake", simulated.uri, "--config", SMALL, "--to", str(target)])
    return target


@pytest.fixture(scope="module")
def users(simulated: Lake, config: Config) -> dict[str, User]:
    """All users with an embedding, as the log has them: history and raw features."""
    lake = Lake(no_session, simulated.uri)
    numbered = lake.small_table(tables.VOCABULARIES).filter(pl.col("feature") == "item_id")
    names = dict(numbered.select("index", "value").iter_rows())
    raw = lake.small_table(tables.users(config)).sort("ds").unique("user_id", keep="last")
    features = {row.pop("user_id"): row for row in raw.drop("ds").to_dicts()}
    histories = dict(lake.small_table(tables.USER_HISTORIES, DAY).select("user_id", "history").iter_rows())
    return {
        user_id: User(user_id, [names[index] for index in histories.get(user_id, [])], features.get(user_id, {}))
        for user_id in lake.small_table(tables.USER_EMBEDDINGS, DAY)["user_id"]
    }


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The running example."""
    with started_example("serve_nearest_items.py", folder, "--port", "0") as line:
        yield line  # printed once it serves


def ask(address: str, body: bytes) -> dict[str, Any]:
    assert address.startswith("http://127.0.0.1:")
    with urlopen(Request(address, body), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def refused(address: str, body: bytes) -> str:
    with pytest.raises(HTTPError) as error:
        ask(address, body)
    assert error.value.code == 400
    return str(json.load(error.value)["error"])


def test_the_vectors_of_a_trained_model_are_those_of_the_batch(
    simulated: Lake, folder: Path, users: dict[str, User]
) -> None:
    rows = Lake(no_session, simulated.uri).small_table(tables.USER_EMBEDDINGS, DAY)
    want = np.array(rows["embedding"].to_list(), np.float32)
    assert len(want) > 300
    found = OnlineModel.current(folder).embed([users[user_id] for user_id in rows["user_id"]])[:, 0]
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-5)


def test_a_request_gets_the_items_of_the_published_list(simulated: Lake, address: str, users: dict[str, User]) -> None:
    """The list leaves out all clicked items, and its index may miss some; the similarities are the same."""
    published = Lake(no_session, simulated.uri).small_table(tables.CANDIDATES, DAY)
    lists = {
        user: listed for user, listed in published.select("user_id", "candidates").iter_rows() if users[user].history
    }
    found = wanted = 0
    for user_id, listed in list(lists.items())[:25]:
        user = users[user_id]
        asked = {"user_id": user_id, "history": user.history, "features": user.features, "k": 300}
        answer = ask(address, json.dumps(asked).encode())
        nearest = {item["item_id"]: item["similarity"] for item in answer["items"]}
        assert not {*user.history} & {*nearest}
        assert [*nearest.values()] == sorted(nearest.values(), reverse=True)
        of_towers = {item["item_id"]: item["channel_score"] for item in listed if item["source"] == "two_tower"}
        assert of_towers == pytest.approx({item: nearest[item] for item in of_towers}, abs=1e-5)
        found += len({*list(nearest)[: len(of_towers)]} & {*of_towers})
        wanted += len(of_towers)
    assert wanted > 500
    assert found >= 0.9 * wanted


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expecting property name"),
        (b"[1]", "a request must be an object of user_id, history, features and k, got [1]"),
        (b'{"user": "1"}', "a request must be an object of user_id, history, features and k, got {'user': '1'}"),
        (b'{"history": "a"}', "history must be a list of item ids, oldest first, got 'a'"),
        (b'{"history": null}', "history must be a list of item ids, oldest first, got None"),
        (b'{"history": [5]}', "history must be text, got 5"),
        (b'{"history": [null]}', "item ids must be text, got None"),
        (b'{"user_id": 5}', "user_id must be text, got 5"),
        (b'{"features": []}', "features must be values by name, got []"),
        (b'{"features": {"size": 4}}', "features must be among ['age', 'gender', 'occupation'], got ['size']"),
        (b'{"k": 0}', "k must be an integer of at least 1, got 0"),
        (b'{"k": 1.5}', "k must be an integer of at least 1, got 1.5"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_a_wrong_request_gets_400_and_what_is_wrong(address: str, body: bytes, message: str) -> None:
    assert message in refused(address, body)


def test_what_is_left_out_is_missing(address: str) -> None:
    assert len(ask(address, b"{}")["items"]) == 10
    assert len(ask(address, b'{"k": 3, "user_id": null}')["items"]) == 3
