"""The embedding of each kind of feature: unknown indices, lists, padding, missing numbers."""

from __future__ import annotations

import math

import pytest
import torch

from model.towers.two_towers import Tower
from model.vocabulary import PADDING, UNKNOWN
from tests.model.towers.small_towers import AGE, HISTORY, IMAGE, ITEMS, SIZES, USER, USERS, D, embedding, towers, users


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
    assert not torch.allclose(number(torch.tensor([40.0])), want)  # the mean is a value, which sets no flag


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
