"""The built-in encoders of a list of items: order, padding, dropout. Axes: B lists, L length, F size, I items."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.data import devices
from model.features import FeatureSpec, ModelSpec
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.towers.attention import ITEMS_AT_ONCE
from model.towers.user_encoders import UserEncoder, ages
from model.vocabulary import FIRST_INDEX, PADDING
from tests.model.towers.small_towers import SPEC, users
from tests.model.towers.training_steps import share_learned

L, DIM, ITEMS = 6, 8, 30
HISTORY = FeatureSpec("history", "item_list", DIM, L, "history", "item_id")
ENCODERS = sorted(USER_ENCODERS.built_in)
IN_ORDER = ["attention", "recency"]


def table() -> nn.EmbeddingBag:
    torch.manual_seed(1)
    made = nn.EmbeddingBag(ITEMS, DIM, mode="mean", sparse=True)
    with torch.no_grad():
        made.weight[PADDING].zero_()
    return made


def encoder(name: str, history: FeatureSpec = HISTORY) -> UserEncoder:
    """The encoder with weights as if it had been trained: at random."""
    torch.manual_seed(0)
    made: UserEncoder = USER_ENCODERS.get(name)(history)
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn(weights.shape) * 0.5)
    return made


def lists(count: int = 40) -> Tensor:
    """Lists [B, L] of 1 to L items, padded at the end."""
    random = torch.Generator().manual_seed(2)
    items = torch.randint(FIRST_INDEX, ITEMS, (count, L), generator=random)
    lengths = torch.randint(1, L + 1, (count, 1), generator=random)
    return torch.where(torch.arange(L) < lengths, items, PADDING)


def learned_share(name: str) -> float:
    """The share of right answers after training where A then B is followed by C, and B then A by D."""
    first, second = torch.tensor([[2, 3], [4, 5], [6, 7]]), torch.tensor([[8, 9], [10, 11], [12, 13]])
    histories = F.pad(torch.cat([first, first.flip(1)]), (0, L - 2))  # [B, L]
    answers = torch.cat([second[:, 0], second[:, 1]])  # [B]
    item = FeatureSpec("item_id", "id", DIM, 1, "item_index", "item_id")
    torch.manual_seed(3)
    spec = ModelSpec((HISTORY,), (item,), {"item_id": 14}, DIM, (), share_item_table=True, user_encoder=name)
    towers = TwoTowers(spec)
    return share_learned(towers, {"history": histories}, answers, 14, steps=80, dense_rate=0.02)


def test_what_comes_next_can_depend_on_the_order_of_two_clicks() -> None:
    assert learned_share("mean") <= 0.5  # it sees no difference between the two orders
    assert {name: learned_share(name) for name in IN_ORDER} == dict.fromkeys(IN_ORDER, 1.0)


def test_an_age_counts_the_later_items() -> None:
    found = ages(torch.tensor([[5, 6, 7, 0], [5, 0, 7, 0], [0, 0, 0, 0]]))
    assert found[0, :3].tolist() == [2, 1, 0]
    assert found[1, [0, 2]].tolist() == [1, 0]
    assert found.min() == 0


def test_the_attention_equals_a_loop_over_items_and_heads() -> None:
    attention, rows = encoder("attention"), table().weight.detach()
    history, weights = [7, 4, 9, 4], dict(attention.named_parameters())
    newest = F.layer_norm(rows[4], (DIM,))
    heads = []
    for head in range(weights["age_bias"].shape[1]):
        part = slice(head * DIM, (head + 1) * DIM)
        query = weights["query.weight"][part] @ newest / DIM**0.5 + weights["query.bias"][part]
        scores = [query @ rows[item] + weights["age_bias"][3 - n, head] for n, item in enumerate(history)]
        shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        heads.append(sum(share * rows[item] for share, item in zip(shares, history, strict=True)))
    mixed = weights["values.weight"] @ torch.cat(heads)  # type: ignore[arg-type]
    hidden = (weights["hidden.weight"] @ F.layer_norm(mixed, (DIM,)) + weights["hidden.bias"]).relu()
    want = mixed + weights["out.weight"] @ hidden + weights["out.bias"]
    torch.testing.assert_close(attention(torch.tensor([[*history, 0, 0]]), table())[0], want)


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing_wherever_it_is(name: str) -> None:
    made, rows = encoder(name), table()
    with torch.no_grad():
        rows.weight[PADDING] = 100.0  # whatever its row holds
        want = made(torch.tensor([[5, 9, 7, 0, 0, 0]]), rows)
        for padded in ([0, 0, 0, 5, 9, 7], [5, 0, 9, 0, 7, 0], [5, 9, 0, 0, 0, 7]):
            torch.testing.assert_close(made(torch.tensor([padded]), rows), want, rtol=0.0, atol=1e-6)
        assert (made(torch.tensor([[5, 9, 7, 8, 0, 0]]), rows) - want).abs().max() > 1e-3


@pytest.mark.parametrize("name", ENCODERS)
def test_a_list_is_encoded_alike_alone_in_a_batch_and_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows, batch = encoder(name), table(), lists(ITEMS_AT_ONCE // 3)
    with torch.no_grad():  # unit vectors, as the tower makes them
        together = F.normalize(made(batch, rows))
        alone = F.normalize(torch.cat([made(history[None], rows) for history in batch[:50]]))
        monkeypatch.setattr(devices, "is_asynchronous", lambda device: True)
        of_fixed_shape = F.normalize(made(batch, rows))
    torch.testing.assert_close(alone, together[:50], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(of_fixed_shape, together, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_at_the_start_no_item_is_left_out(name: str) -> None:
    made, rows = USER_ENCODERS.get(name)(HISTORY), table()
    found = made(torch.tensor([[5, 9, 7, 0, 0, 0]]), rows)[0]
    cosine = F.cosine_similarity(found, rows.weight[[5, 9, 7]].mean(dim=0), dim=0)
    assert cosine > (0.9 if name == "attention" else 1 - 1e-6)  # some of its heads prefer the newest


@pytest.mark.parametrize("name", ENCODERS)
def test_lists_without_items_and_no_lists_are_finite(name: str) -> None:
    made, rows = encoder(name), table()
    found = made(torch.tensor([[0] * L, [5] + [0] * (L - 1)]), rows)
    found.sum().backward()
    assert bool(found.isfinite().all())
    gradients = [parameter.grad for parameter in (*made.parameters(), rows.weight) if parameter.grad is not None]
    assert all(bool(gradient.to_dense().isfinite().all()) for gradient in gradients)
    assert made(torch.zeros(0, L, dtype=torch.int64), rows).shape == (0, DIM)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_gradient_of_the_table_is_sparse_and_has_no_padding(name: str) -> None:
    made, rows, batch = encoder(name), table(), lists()
    made(batch, rows).square().sum().backward()
    gradient = rows.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == set(batch.unique().tolist()) - {PADDING}
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("name", IN_ORDER)
def test_values_are_dropped_in_a_training_step_only(name: str) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(replace(SPEC, user_encoder=name))
    inputs = users()

    def vectors(seed: int, share: float = 0.5) -> Tensor:
        with torch.no_grad(), towers.dropout(share, torch.Generator().manual_seed(seed)):
            embedded: Tensor = towers.user(inputs)
        return embedded

    with torch.no_grad():
        want = towers.user(inputs)
    assert torch.equal(vectors(1), vectors(1))
    assert not torch.equal(vectors(1), vectors(2))
    assert torch.equal(vectors(1, share=0.0), want)
    with torch.no_grad():
        assert torch.equal(towers.user(inputs), want)
