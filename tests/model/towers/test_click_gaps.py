"""Encoders that read how long ago each click was. Axes: B lists, L length, F size, I items."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.data import devices
from model.features import Feature, FeatureSpec, ModelSpec
from model.features.gaps import GAP_INDICES, gap_index
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.towers.user_encoders import UserEncoder
from model.vocabulary import FIRST_INDEX, PADDING, UNKNOWN
from tests.model.towers.test_user_encoders import DIM, L, encoder, lists, table
from tests.model.towers.training_steps import share_learned

HISTORY, GAPS = FeatureSpec.all_declared([Feature("history", "item_list", DIM, L, gaps=True)], "user")
ITEM = FeatureSpec("item_id", "id", DIM, 1, "item_index", "item_id")
READERS = ["attention", "recency"]
MINUTE, DAY, MONTH = (gap_index(minutes) for minutes in (1, 1_440, 43_200))


def gaps_of(indices: Tensor) -> Tensor:
    return torch.randint(UNKNOWN, GAP_INDICES, indices.shape, generator=torch.Generator().manual_seed(4))


def spec(encoder: str) -> ModelSpec:
    return ModelSpec((HISTORY, GAPS), (ITEM,), {"item_id": 20}, DIM, (), share_item_table=True, user_encoder=encoder)


def learned_share(name: str, *, with_gaps: bool = True) -> float:
    """The share of right answers after training where only the gaps decide what is clicked.

    Each of three users clicked an item a month ago, and another one: a minute ago, after which they click what follows that
    item; or a month ago as well, after which they click what follows the first one.
    """
    old, new = torch.tensor([2, 3, 4]), torch.tensor([5, 6, 7])
    histories = F.pad(torch.stack([old, new], dim=1).repeat(2, 1), (0, L - 2))  # [B, L]
    gaps = torch.tensor([[MONTH, MINUTE]] * 3 + [[MONTH, MONTH]] * 3)
    gaps = F.pad(gaps if with_gaps else torch.full_like(gaps, UNKNOWN), (0, L - 2))  # [B, L]
    answers = torch.cat([new + 6, old + 6])  # [B]
    torch.manual_seed(3)
    towers = TwoTowers(spec(name))
    inputs = {"history": histories, "history_gaps": gaps}
    return share_learned(towers, inputs, answers, 20, steps=40, dense_rate=0.05)


def test_what_comes_next_can_depend_on_how_long_ago_the_last_click_was() -> None:
    assert {name: learned_share(name) for name in READERS} == dict.fromkeys(READERS, 1.0)
    assert learned_share("attention", with_gaps=False) <= 0.5


def test_a_gap_is_counted_in_minutes_that_double() -> None:
    found = [gap_index(minutes) for minutes in (None, -5, 0, 1, 2, 3, 4, 1_439, 1_440, 2**21 - 1, 2**21, 2**40)]
    assert found == [UNKNOWN, 2, 2, 3, 4, 4, 5, 13, 13, 23, 24, 24]
    assert max(found) == GAP_INDICES - 1
    assert FIRST_INDEX == 2


def test_the_gaps_follow_the_history_as_an_input() -> None:
    age = Feature("age", "numeric", 4)
    with_gaps = FeatureSpec.all_declared([Feature("history", "item_list", DIM, L, gaps=True), age], "user")
    assert [(one.name, one.column, one.vocabulary, one.holds_numbers) for one in with_gaps] == [
        ("history", "history", "item_id", False),
        ("history_gaps", "history_gaps", None, False),
        ("age", "age", None, True),
    ]
    without = FeatureSpec.all_declared([Feature("history", "item_list", DIM, L), age], "user")
    assert [one.name for one in without] == ["history", "age"]
    made = spec("attention")
    assert ModelSpec.from_json(json.loads(json.dumps(made.to_json()))) == made
    older = made.to_json()
    for feature in older["user"]:
        del feature["gaps"]  # as models of before have it
    assert [one.gaps for one in ModelSpec.from_json(older).user] == [False, False]


def test_the_attention_equals_a_loop_over_items_and_heads() -> None:
    attention, rows = encoder("attention", HISTORY), table().weight.detach()
    history, gaps, weights = [7, 4, 9, 4], [MONTH, UNKNOWN, DAY, MINUTE], dict(attention.named_parameters())
    newest = F.layer_norm(rows[4], (DIM,))
    heads = []
    for head in range(weights["age_bias"].shape[1]):
        part = slice(head * DIM, (head + 1) * DIM)
        query = weights["query.weight"][part] @ newest / DIM**0.5 + weights["query.bias"][part]
        scores = [
            query @ rows[item] + weights["age_bias"][3 - n, head] + weights["gap_bias"][gaps[n], head]
            for n, item in enumerate(history)
        ]
        shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        heads.append(sum(share * rows[item] for share, item in zip(shares, history, strict=True)))
    mixed = weights["values.weight"] @ torch.cat(heads)  # type: ignore[arg-type]
    hidden = weights["hidden.weight"] @ F.layer_norm(mixed, (DIM,)) + weights["hidden.bias"]
    want = mixed + weights["out.weight"] @ (hidden + weights["gap_shift"][MINUTE]).relu() + weights["out.bias"]
    found = attention(torch.tensor([[*history, 0, 0]]), table(), torch.tensor([[*gaps, 0, 0]]))
    torch.testing.assert_close(found[0], want)


@pytest.mark.parametrize("name", READERS)
def test_the_gap_of_padding_changes_nothing(name: str) -> None:
    """Training pads clicks that it drops, and leaves their gaps."""
    made, rows = encoder(name, HISTORY), table()
    for history in ([5, 9, 7, 0, 0, 0], [0, 5, 0, 9, 7, 0], [0] * L):
        indices, gaps = torch.tensor([history]), gaps_of(torch.zeros(1, L))
        with torch.no_grad():
            want = made(indices, rows, gaps)
            other = torch.where(indices == PADDING, gaps % (GAP_INDICES - 1) + 1, gaps)
            torch.testing.assert_close(made(indices, rows, other), want, rtol=0.0, atol=1e-7)
            if any(history):
                assert (made(indices, rows, gaps % (GAP_INDICES - 1) + 1) - want).abs().max() > 1e-3


@pytest.mark.parametrize("name", READERS)
def test_at_the_start_gaps_add_nothing(name: str) -> None:
    batch, rows = lists(), table()
    torch.manual_seed(5)
    without: UserEncoder = USER_ENCODERS.get(name)(replace(HISTORY, gaps=False))
    torch.manual_seed(5)
    timed: UserEncoder = USER_ENCODERS.get(name)(HISTORY)
    assert torch.equal(timed(batch, rows, gaps_of(batch)), without(batch, rows))


@pytest.mark.parametrize("name", READERS)
def test_a_list_is_encoded_alike_alone_in_a_batch_and_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows, batch = encoder(name, HISTORY), table(), lists(3_000)
    gaps = gaps_of(batch)
    with torch.no_grad():  # unit vectors, as the tower makes them
        together = F.normalize(made(batch, rows, gaps))
        parts = [made(history[None], rows, own[None]) for history, own in zip(batch[:40], gaps[:40], strict=True)]
        alone = F.normalize(torch.cat(parts))
        monkeypatch.setattr(devices, "is_asynchronous", lambda device: True)
        of_fixed_shape = F.normalize(made(batch, rows, gaps))
    torch.testing.assert_close(alone, together[:40], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(of_fixed_shape, together, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("name", READERS)
def test_gaps_are_trained_and_an_empty_batch_has_vectors(name: str) -> None:
    made, rows, batch = encoder(name, HISTORY), table(), lists()
    made(batch, rows, gaps_of(batch)).square().sum().backward()
    own = {key: weights.grad for key, weights in made.named_parameters() if key.startswith("gap_")}
    assert own
    assert all(gradient is not None and bool((gradient != 0).any()) for gradient in own.values())
    nothing = torch.zeros(0, L, dtype=torch.int64)
    assert made(nothing, rows, nothing).shape == (0, DIM)
