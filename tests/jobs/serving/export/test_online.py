"""Exports of the user tower: the vectors of an online model are those of the batch, and what a folder has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import export_user_tower
from jobs.lake.lake import Lake
from model.towers.online import OnlineModel, User
from tests.jobs.serving.export.embedded_users import (
    END,
    ITEM_IDS,
    LENGTH,
    USER_IDS,
    Embedded,
    batch_vectors,
    version_in,
    write_embedded,
)
from tests.marks import slow_after

Kind = tuple[str, int, bool, bool]  # encoder, interests, rows for some ids only, hashed user ids
MEAN: Kind = ("mean", 1, False, False)
INTERESTS: Kind = ("attention", 3, True, False)
HASHED: Kind = ("mean", 1, True, True)
MODELS = [MEAN, INTERESTS, HASHED, ("recency", 1, False, False), ("attention", 1, False, False)]

Write = Callable[[Kind], Embedded]


@pytest.fixture(scope="module")
def write(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes a lake with a kind of model; once for each. Read only."""
    made: dict[Kind, Embedded] = {}

    def written(kind: Kind) -> Embedded:
        if kind not in made:
            folder, (encoder, interests, live_rows, hashed) = tmp_path_factory.mktemp("embedded"), kind
            lake = Lake(spark, str(folder / "lake"))
            made[kind] = write_embedded(lake, folder, encoder, interests, live_rows=live_rows, hashed=hashed)
        return made[kind]

    return written


def export(embedded: Embedded, folder: Path, *more: str) -> int:
    return export_user_tower.main(["--lake", embedded.lake.uri, "--to", str(folder), *more])


@pytest.mark.parametrize("number", slow_after(2, range(len(MODELS))))
def test_the_vectors_of_1000_users_are_those_of_the_batch(write: Write, tmp_path: Path, number: int) -> None:
    embedded, interests = write(MODELS[number]), MODELS[number][1]
    assert export(embedded, tmp_path) == 54  # items that may be shown
    online, batch = OnlineModel.current(tmp_path), batch_vectors(embedded.lake)
    assert len(batch) == len(USER_IDS) == 1_000
    together = online.embed([embedded.users[user_id] for user_id in USER_IDS], END)  # [B, Q, D]
    want = np.stack([batch[user_id] for user_id in USER_IDS])
    assert together.shape == want.shape == (1_000, interests, 64)
    np.testing.assert_allclose(together, want, rtol=0, atol=1e-5)
    assert np.abs(together[1:] - together[:-1]).max() > 0.1  # they are not all alike
    for user_id in USER_IDS[:20]:
        np.testing.assert_allclose(online.embed([embedded.users[user_id]], END)[0], batch[user_id], rtol=0, atol=1e-5)


def test_unknown_ids_and_longer_histories_are_read_as_the_batch_reads_them(write: Write, tmp_path: Path) -> None:
    embedded = write(MEAN)
    export(embedded, tmp_path)
    online = OnlineModel.current(tmp_path)
    nobody = online.embed([User(), User("never seen"), User(None, ["never seen"]), User(None, ["nor", "this one"])])
    np.testing.assert_array_equal(nobody[0], nobody[1])
    np.testing.assert_allclose(nobody[2], nobody[3], rtol=0, atol=1e-6)
    assert np.abs(nobody[0] - nobody[2]).max() > 1e-3  # an unknown item is not an absent one
    long = online.embed([User(None, ITEM_IDS[:20]), User(None, ITEM_IDS[20 - LENGTH : 20])])
    np.testing.assert_array_equal(long[0], long[1])  # the newest clicks


def test_nearest_items_are_those_of_a_loop_without_the_history(write: Write, tmp_path: Path) -> None:
    embedded = write(INTERESTS)
    export(embedded, tmp_path)
    online = OnlineModel.current(tmp_path)
    user = embedded.users[next(user_id for user_id, user in embedded.users.items() if len(user.history) == LENGTH)]
    interests = online.embed([user], END)[0]
    items = {online.items[number]: online.vectors[number] for number in range(len(online.items))}
    assert set(items) == {item_id for number, item_id in enumerate(ITEM_IDS) if number % 10}
    best = {
        item: max(float(v @ vector) for v in interests) for item, vector in items.items() if item not in user.history
    }
    want = sorted(best, key=lambda item: (-best[item], item))
    assert [item for item, _ in online.nearest(user, 7, at=END)] == want[:7]
    assert [score for _, score in online.nearest(user, 7, at=END)] == pytest.approx(
        [best[item] for item in want[:7]], abs=1e-6
    )
    assert [item for item, _ in online.nearest(user, 1_000, excluded=[want[0]], at=END)] == want[1:]


def test_the_manifest_says_what_each_input_is(write: Write, tmp_path: Path) -> None:
    embedded = write(HASHED)
    export(embedded, tmp_path)
    manifest = json.loads((tmp_path / version_in(tmp_path) / "manifest.json").read_text("utf-8"))
    assert (manifest["ds"], manifest["model_version"], manifest["publication"]) == ("2026-03-01", "model1", 1)
    assert (manifest["history"], manifest["interests"], manifest["dimension"], manifest["items"]) == (
        "history",
        1,
        64,
        54,
    )
    found = {one["feature"]: (one["kind"], one["dtype"], one["shape"], one["keeps"]) for one in manifest["inputs"]}
    assert found == {
        "user_id": ("hashed_id", "int64", ["batch"], None),
        "history": ("item_list", "int64", ["batch", 5], "last"),
        "wishlist": ("item_list", "int64", ["batch", 3], "first"),
        "age": ("numeric", "float32", ["batch"], None),
        "taste": ("vector", "float32", ["batch", 2], None),
        "gender": ("categorical", "int64", ["batch"], None),
        "tags": ("categorical", "int64", ["batch", 2], "first"),
    }
    assert set(manifest["vocabularies"]) == {"user_id", "item_id", "user.gender", "user.tags"}
    online = OnlineModel.current(tmp_path)
    assert len(online._vocabularies["user_id"].ids) == 498  # those with a row of their own


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (User(None, (), {"age": "old"}), "age must be a number, got 'old'"),
        (User(None, (), {"age": True}), "age must be a number, got True"),
        (User(None, (), {"tags": "a"}), "tags must be a list, got 'a'"),
        (User(None, (), {"gander": "f"}), r"features must be among \['age', .*'wishlist'\], got \['gander'\]"),
        (User(None, (), {"history": ["i1"]}), r"features must be among .* got \['history'\]"),
    ],
)
def test_a_value_of_another_type_is_refused(write: Write, tmp_path: Path, user: User, message: str) -> None:
    export(write(MEAN), tmp_path)
    with pytest.raises(ValueError, match=message):
        OnlineModel.current(tmp_path).embed([user])
