"""The example that serves nearest items, on the trained model of the simulated lake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs import export_user_tower
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.towers.online import OnlineModel, User
from tests.conftest import DAYS, SMALL
from tests.examples.served import ask, served
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
    with served(folder) as (address, _):
        yield address


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
