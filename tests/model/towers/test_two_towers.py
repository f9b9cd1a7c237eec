"""The two towers: their vectors, parameters, shared table and user encoder. Axes: B rows, D output size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from model.features import FeatureSpec, ModelSpec
from model.towers.two_towers import Tower, TwoTowers
from tests.model.towers.small_towers import HISTORY, IMAGE, ITEM, ITEMS, SIZES, SPEC, USER, USERS, D, towers, users


@pytest.mark.parametrize("hidden", [(), (16,), (16, 5)])
def test_vectors_have_norm_one(hidden: tuple[int, ...]) -> None:
    model = towers(hidden)
    items = {"item_id": torch.arange(ITEMS), "image": torch.randn(ITEMS, 2)}
    for vectors, rows in ((model.user(users()), 2), (model.item(items), ITEMS)):
        assert vectors.shape == (rows, D)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(rows))


def test_no_rows_give_no_vectors() -> None:
    none = {"user_id": torch.zeros(0, dtype=torch.int64), "history": torch.zeros(0, 3, dtype=torch.int64)}
    assert towers().user(none | {"age": torch.zeros(0)}).shape == (0, D)


def test_without_hidden_layers_a_tower_starts_as_the_embedding_itself() -> None:
    tower = Tower([USER], SIZES, (), D)
    table = tower.embedding("user_id").get_parameter("table.weight")
    torch.testing.assert_close(tower({"user_id": torch.tensor([4])})[0], F.normalize(table[4], dim=0))


def test_gradients_of_tables_are_sparse_and_all_others_dense() -> None:
    model = towers((4,))
    items = {"item_id": torch.tensor([2, 3]), "image": torch.ones(2, 2)}
    (model.user(users()).sum() + model.item(items).sum()).backward()
    assert [table.grad.is_sparse for table in model.tables()] == [True] * 3  # type: ignore[union-attr]
    assert not any(weight.grad.is_sparse for weight in model.dense())  # type: ignore[union-attr]


def test_tables_and_dense_weights_are_all_the_parameters_once() -> None:
    model = towers((4,))
    split = [id(weight) for weight in (*model.tables(), *model.dense())]
    assert sorted(split) == sorted(id(weight) for weight in model.parameters())
    assert [tuple(table.shape) for table in model.tables()] == [(USERS, D), (ITEMS, D), (ITEMS, D)]


@pytest.mark.parametrize("name", ["type", "items", "training", "forward"])
def test_a_feature_may_be_named_as_what_every_module_has(name: str) -> None:
    tower = Tower([FeatureSpec(name, "categorical", D, 1, name, "user_id")], SIZES, (), D)
    assert tower({name: torch.tensor([2])}).shape == (1, D)


SHARED = ModelSpec(SPEC.user, SPEC.item, SIZES, D, (), share_item_table=True)


def test_a_shared_table_is_one_table_that_both_towers_train() -> None:
    torch.manual_seed(0)
    model = TwoTowers(SHARED)
    table = model.item.embedding("item_id").get_parameter("table.weight")
    assert model.user.embedding("history").get_parameter("table.weight") is table
    assert len(model.tables()) == len(towers().tables()) - 1
    model.user(users()).sum().backward()
    assert set(table.grad.coalesce().indices()[0].tolist()) == {2, 3, 4, 5}  # type: ignore[union-attr]


def test_towers_share_no_table_by_default() -> None:
    model = towers()
    own = model.user.embedding("history").get_parameter("table.weight")
    assert own is not model.item.embedding("item_id").get_parameter("table.weight")


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [
        (replace(HISTORY, dim=3), ITEM, "user feature history needs vocabulary item_id and dim 6, got item_id and 3"),
        (HISTORY, IMAGE, "user feature history needs an item id feature"),
    ],
)
def test_a_table_that_cannot_be_shared_is_refused(user: FeatureSpec, item: FeatureSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TwoTowers(ModelSpec((user,), (item,), SIZES, D, (), share_item_table=True))


def attentive(**changes: object) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(replace(SPEC, user_encoder="tests.extensions.my_encoder:AttentionPooling", **changes))


def test_a_user_encoder_from_outside_pools_the_history_with_weights_that_are_trained() -> None:
    model = attentive()
    history = model.user.embedding("history")
    lists = torch.tensor([[2, 3, 0], [5, 0, 0], [0, 0, 0]])
    pooled = history(lists)
    rows = history.get_parameter("table.weight")
    weights = history.encoder.score(rows[[2, 3]])[:, 0].softmax(dim=0)  # type: ignore[operator,union-attr]
    torch.testing.assert_close(pooled[0], weights @ rows[[2, 3]])
    torch.testing.assert_close(pooled[1], rows[5])
    assert not pooled[2].any()
    model.user(users()).sum().backward()
    assert rows.grad.is_sparse  # type: ignore[union-attr]
    assert history.get_parameter("encoder.score.weight").grad is not None
    assert len(model.dense()) == len(towers().dense()) + 2


def test_a_specification_without_a_user_encoder_takes_the_mean() -> None:
    stored = SPEC.to_json()
    del stored["user_encoder"]
    assert ModelSpec.from_json(stored) == SPEC
    assert set(towers().user.state_dict()) == {  # the names in the weights of stored models
        "embeddings.of_user_id.table.weight",
        "embeddings.of_history.table.weight",
        *(f"embeddings.of_age.{name}" for name in ("mean", "std", "project.weight", "project.bias")),
        "out.weight",
    }


def test_an_unknown_user_encoder_is_refused() -> None:
    known = r"\['attention', 'mean', 'recency'\]"
    with pytest.raises(ValueError, match=rf"model\.user_encoder must be one of {known} or .*, got 'atention'; did you"):
        TwoTowers(replace(SPEC, user_encoder="atention"))
