"""The towers, feature by feature, and what dropping ids does to them. Axes: B rows, D output size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.features import FeatureSpec, ModelSpec
from model.towers.embeddings import FeatureEmbedding, feature_embedding
from model.towers.two_towers import Tower, TwoTowers, drop_ids
from model.vocabulary import PADDING, UNKNOWN

D, USERS, ITEMS = 6, 9, 8
USER = FeatureSpec("user_id", "id", D, 1, "user_index", "user_id")
HISTORY = FeatureSpec("history", "item_list", D, 3, "history", "item_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
ITEM = FeatureSpec("item_id", "id", D, 1, "item_index", "item_id")
IMAGE = FeatureSpec("image", "vector", 3, 2, "image", None)
SIZES = {"user_id": USERS, "item_id": ITEMS}
SPEC = ModelSpec((USER, HISTORY, AGE), (ITEM, IMAGE), SIZES, D, ())


def towers(hidden: tuple[int, ...] = ()) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(ModelSpec(SPEC.user, SPEC.item, SIZES, D, hidden))


def users(**changes: Tensor) -> dict[str, Tensor]:
    """Two users."""
    inputs = {
        "user_id": torch.tensor([2, 3]),
        "history": torch.tensor([[2, 3, 4], [5, 0, 0]]),
        "age": torch.tensor([30.0, 50.0]),
    }
    return inputs | changes


def embedding(feature: FeatureSpec) -> FeatureEmbedding:
    torch.manual_seed(0)
    return feature_embedding(feature, SIZES[feature.vocabulary] if feature.vocabulary else None)


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


def test_an_index_that_is_younger_than_the_model_is_the_unknown_one() -> None:
    table = embedding(USER)
    got = table(torch.tensor([USERS, USERS + 1000, UNKNOWN, USERS - 1]))
    assert torch.equal(got[0], got[2])
    assert torch.equal(got[1], got[2])
    assert not torch.equal(got[3], got[2])
    assert got[2].abs().sum() > 0


def test_a_young_index_within_a_list_is_the_unknown_one() -> None:
    lists = embedding(HISTORY)
    assert torch.equal(lists(torch.tensor([[2, ITEMS, 0]])), lists(torch.tensor([[2, UNKNOWN, 0]])))


def test_a_list_is_the_mean_of_its_items() -> None:
    lists = embedding(HISTORY)
    torch.testing.assert_close(lists(torch.tensor([[2, 3, 4]]))[0], lists.table.weight[[2, 3, 4]].mean(dim=0))


def test_padding_contributes_nothing() -> None:
    lists = embedding(HISTORY)
    padded = lists(torch.tensor([[5, 0, 0], [0, 5, 0], [5, 5, 5]]))
    torch.testing.assert_close(padded, lists.table.weight[[5, 5, 5]])


def test_a_history_of_nothing_but_padding_gives_a_finite_vector() -> None:
    model = towers()
    vectors = model.user(users(history=torch.zeros(2, 3, dtype=torch.int64)))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    vectors.sum().backward()
    assert all(bool(p.grad.to_dense().isfinite().all()) for p in model.user.parameters() if p.grad is not None)


def test_a_tower_of_a_history_alone_stays_finite_without_clicks() -> None:
    tower = Tower([HISTORY], SIZES, (), D)
    vectors = tower({"history": torch.tensor([[0, 0, 0], [2, 0, 0]])})
    vectors.sum().backward()
    assert bool(vectors.isfinite().all())
    assert all(bool(p.grad.to_dense().isfinite().all()) for p in tower.parameters() if p.grad is not None)


def test_the_row_of_padding_is_zero_and_is_not_trained() -> None:
    model = towers()
    table = model.user.embedding("history").get_parameter("table.weight")
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    model.user(users()).sum().backward()
    optimizer.step()
    assert not table[PADDING].any()
    assert not torch.equal(table, towers().user.embedding("history").get_parameter("table.weight"))


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_missing_number_is_a_flag_and_no_value(missing: float) -> None:
    number = embedding(AGE)
    number.mean.fill_(40.0)
    want = number.project(torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(number(torch.tensor([missing])), want)
    assert not torch.allclose(number(torch.tensor([40.0])), want)  # the mean is a value: no flag


def test_a_number_is_standardised() -> None:
    number = embedding(AGE)
    number.mean.fill_(40.0)
    number.std.fill_(5.0)
    torch.testing.assert_close(number(torch.tensor([55.0])), number.project(torch.tensor([[3.0, 0.0]])))


def test_each_place_of_a_vector_is_missing_on_its_own() -> None:
    image = embedding(IMAGE)
    want = image.project(torch.tensor([[0.0, 2.0, 1.0, 0.0]]))
    torch.testing.assert_close(image(torch.tensor([[math.nan, 2.0]])), want)


def test_a_missing_number_does_not_spoil_the_gradient() -> None:
    model = towers()
    model.user(users(age=torch.tensor([math.nan, 50.0]))).sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in model.user.embedding("age").parameters())  # type: ignore[union-attr]


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


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_dropped_share_is_the_one_asked_for() -> None:
    ids = torch.arange(2, 20_002)
    dropped = drop_ids(ids, 0.3, generator())
    changed = dropped != ids
    assert bool((dropped[changed] == UNKNOWN).all())
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.015)  # 4.6 deviations


def test_a_share_of_nothing_and_of_all() -> None:
    ids = torch.arange(2, 1002)
    assert torch.equal(drop_ids(ids, 0.0, generator()), ids)
    assert bool((drop_ids(ids, 1.0, generator()) == UNKNOWN).all())


def test_padding_is_never_dropped() -> None:
    ids = torch.tensor([[5, PADDING], [PADDING, 6]])
    assert drop_ids(ids, 1.0, generator()).tolist() == [[UNKNOWN, PADDING], [PADDING, UNKNOWN]]


def test_what_is_dropped_follows_from_the_generator() -> None:
    ids, one, same, other = torch.arange(2, 502), generator(), generator(), generator(1)
    first = drop_ids(ids, 0.5, one)
    assert torch.equal(drop_ids(ids, 0.5, same), first)
    assert not torch.equal(drop_ids(ids, 0.5, one), first)
    assert not torch.equal(drop_ids(ids, 0.5, other), first)


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.5, True)])
def test_dropping_ids_is_what_trains_the_unknown_one(share: float, moves: bool) -> None:
    tower = Tower([USER], SIZES, (), D)
    table = tower.embedding("user_id").get_parameter("table.weight")
    before = table[UNKNOWN].detach().clone()
    optimizer = torch.optim.SGD(tower.parameters(), lr=1.0)
    ids = torch.arange(2, USERS).repeat(10)
    tower({"user_id": drop_ids(ids, share, generator())})[:, 0].sum().backward()
    optimizer.step()
    assert torch.equal(table[UNKNOWN], before) != moves


SHARED = ModelSpec(SPEC.user, SPEC.item, SIZES, D, (), share_item_table=True)


def test_a_shared_table_is_one_table_that_both_towers_train() -> None:
    torch.manual_seed(0)
    model = TwoTowers(SHARED)
    table = model.item.embedding("item_id").get_parameter("table.weight")
    assert model.user.embedding("history").get_parameter("table.weight") is table
    assert len(model.tables()) == len(towers().tables()) - 1
    model.user(users()).sum().backward()
    assert set(table.grad.coalesce().indices()[0].tolist()) == {2, 3, 4, 5}  # type: ignore[union-attr]


def test_towers_share_nothing_where_they_are_not_told_to() -> None:
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


def test_clicks_that_are_left_out_are_padding() -> None:
    history = torch.tensor([[2, 3, 4, 0]] * 500)
    dropped = drop_ids(history, 0.3, torch.Generator().manual_seed(1), by=PADDING)
    assert set(dropped[dropped != history].tolist()) == {PADDING}
    assert 0.25 < float((dropped[:, :3] == PADDING).float().mean()) < 0.35
    assert drop_ids(history, 0.0, torch.Generator()) is history


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
    with pytest.raises(ValueError, match=r"model\.user_encoder must be one of \['mean'\] or .*, got 'attention'"):
        TwoTowers(replace(SPEC, user_encoder="attention"))
