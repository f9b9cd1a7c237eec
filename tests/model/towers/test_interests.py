"""Several query embeddings of a user. Axes: B lists, Q interests, H heads, L length, F size, D output."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.features import ModelSpec
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.towers.attention import SLOPES, Attention
from tests.model.towers.small_towers import AGE, SPEC, USER, D, users
from tests.model.towers.test_user_encoders import DIM, HISTORY, L, encoder, lists, table

Q = 3
SEVERAL = replace(SPEC, user_encoder="attention", interests=Q)


def several(spec: ModelSpec = SEVERAL) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(spec)


def test_each_interest_is_what_an_encoder_with_its_heads_alone_makes() -> None:
    torch.manual_seed(0)
    made, rows, batch = Attention(HISTORY, Q), table(), lists()
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn(weights.shape) * 0.5)
        found = made(batch, rows)  # [B, Q, F]
        for number in range(Q):
            one, state = Attention(HISTORY), made.state_dict()
            heads = slice(number * len(SLOPES), (number + 1) * len(SLOPES))
            parts = slice(heads.start * DIM, heads.stop * DIM)
            state |= {name: state[name][parts] for name in ("query.weight", "query.bias")}
            one.load_state_dict(state | {"age_bias": state["age_bias"][:, heads]})
            torch.testing.assert_close(found[:, number], one(batch, rows), rtol=0.0, atol=1e-6)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-2


def test_one_interest_has_the_weights_and_the_random_numbers_of_an_encoder_without_interests() -> None:
    torch.manual_seed(0)
    made = Attention(HISTORY)
    after = torch.rand(3)
    torch.manual_seed(0)
    layers = [nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM, bias=False), nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)]
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(made.hidden.weight, layers[2].weight)
    assert not made.query.bias.any()
    assert made.age_bias.shape == (L, 2)
    assert encoder("attention")(lists(), table()).shape == (40, DIM)


def test_a_user_has_unit_vectors_that_differ_by_the_history_alone() -> None:
    model = several()
    inputs = users(history=torch.tensor([[2, 3, 4], [0, 0, 0]]))
    vectors = model.user(inputs)
    assert vectors.shape == (2, Q, D)
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(2, Q))
    assert (vectors[0, 0] - vectors[0, 1]).abs().max() > 1e-4  # from the start, or all would learn the same
    torch.testing.assert_close(vectors[1, 0], vectors[1, 1])  # without clicks there is nothing to divide
    assert model.user({name: values[:0] for name, values in inputs.items()}).shape == (0, Q, D)


def test_hidden_layers_are_applied_to_each_interest() -> None:
    model = several(replace(SEVERAL, hidden=(5,)))
    assert model.user(users()).shape == (2, Q, D)


def test_encoders_that_make_one_vector_are_refused_for_several() -> None:
    for name in ("mean", "recency", "tests.extensions.my_encoder:AttentionPooling"):
        with pytest.raises(
            ValueError, match=rf"must make several vectors where model\.interests is 3, .* got '{name}'"
        ):
            TwoTowers(replace(SEVERAL, user_encoder=name))


def test_interests_without_a_list_of_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.interests must be 1 without a user feature of kind item_list"):
        TwoTowers(replace(SEVERAL, user=(USER, AGE)))


def test_a_specification_without_interests_has_one() -> None:
    stored = SPEC.to_json()
    del stored["interests"]
    assert ModelSpec.from_json(stored) == SPEC
    assert USER_ENCODERS.get("mean").makes_interests is False
