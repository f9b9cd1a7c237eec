"""The objective with a bank of past columns: what it holds, and how it counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.losses import Columns, sampled_softmax_loss
from tests.model.negatives.objectives import ITEMS, POSITIVES, B, D, P, Q, U, by_hand, objective


def test_the_bank_adds_past_columns_once_it_is_warm(queries: Tensor, table: Tensor) -> None:
    cbns = objective(bank=8, bank_warmup_steps=2)
    alone = by_hand(queries, table, POSITIVES, (B - 1) * Q)
    for _ in range(2):
        assert torch.allclose(cbns(queries, POSITIVES, lambda ids: table[ids]), alone)
    old = POSITIVES[torch.tensor([2, 3, 4, 0, 1, 2, 3, 4])]  # two pushes of five into eight places
    loss = cbns(queries, POSITIVES, lambda ids: 0.5 * table[ids])
    halved = torch.cat([0.5 * table[POSITIVES], table[old]])
    ids = torch.cat([POSITIVES, old])
    n = ((B - 1) * Q + 8 * Q)[ids].log().float()
    wanted = sampled_softmax_loss(queries, 0.5 * table[POSITIVES], POSITIVES, Columns(halved, ids, n), temperature=0.5)
    assert torch.allclose(loss, wanted)  # stored columns are unchanged, fresh ones are of this step


def test_the_probabilities_of_a_bank_of_all_columns_are_those_of_the_mixture() -> None:
    mixed = objective(corpus=4, unclicked=1, bank=20, bank_holds="all")
    everything = torch.arange(ITEMS)
    assert torch.allclose(mixed.mixture.bank_probability(everything), (B * Q + 4 * U + 1 * P) / (B + 5))
    positives_only = objective(corpus=4, unclicked=1, bank=20)
    assert torch.allclose(positives_only.mixture.bank_probability(everything), Q)


@pytest.mark.parametrize(("holds", "size"), [("positives", B), ("all", B + 7)])
def test_the_bank_is_filled_with_the_configured_columns(queries: Tensor, table: Tensor, holds: str, size: int) -> None:
    mixed = objective(corpus=7, bank=50, bank_holds=holds)
    mixed(queries, POSITIVES, lambda ids: table[ids])
    assert mixed.mixture.bank is not None
    embeddings, ids, steps = mixed.mixture.bank.stored.columns()
    assert len(ids) == size
    assert not embeddings.requires_grad
    assert torch.equal(embeddings, table[ids])
    assert set(steps.tolist()) == {1}


def test_rescaling_changes_the_items_gradient_and_nothing_else(queries: Tensor, table: Tensor) -> None:
    found = {}
    for cure in (True, False):
        cbns, weights, asked = (
            objective(bank=B, bank_gradient_rescaling=cure),
            table.clone().requires_grad_(),
            queries.clone().requires_grad_(),
        )
        cbns(asked, POSITIVES, lambda ids, weights=weights: weights[ids])  # type: ignore[misc]
        loss = cbns(asked, POSITIVES, lambda ids, weights=weights: weights[ids])  # type: ignore[misc]
        found[cure] = (loss.detach(), *torch.autograd.grad(loss, (asked, weights)))
    assert torch.allclose(found[True][0], found[False][0])
    assert torch.allclose(found[True][1], found[False][1])
    assert (found[True][2] - found[False][2]).abs().max() > 1e-3


def test_own_negatives_are_no_columns_of_the_bank(queries: Tensor, table: Tensor) -> None:
    mixed = objective(bank=50, bank_holds="all", corpus=2, row=2)
    mixed(queries, POSITIVES, lambda ids: table[ids], own=torch.tensor([[8, 9]] * B))
    assert mixed.mixture.bank is not None
    assert len(mixed.mixture.bank.stored) == B + 2


def test_what_a_full_bank_holds_of_each_source_is_what_its_counts_say() -> None:
    """The capacity is three and a half pushes: of the half push, each source must be stored equally often."""
    push = B + 5 + 10
    mixed = objective(corpus=5, unclicked=10, bank=7 * push // 2, bank_holds="all")
    unit = torch.nn.functional.normalize(torch.ones(ITEMS, D), dim=1)
    held = torch.zeros(ITEMS, dtype=torch.float64)
    positives = torch.multinomial(Q, 400 * B, replacement=True, generator=torch.Generator().manual_seed(3)).view(-1, B)
    for batch in positives:
        mixed(unit[:B], batch, lambda ids: unit[ids])
        assert mixed.mixture.bank is not None
        if len(mixed.mixture.bank.stored) == mixed.mixture.bank.stored.capacity:
            held += torch.bincount(mixed.mixture.bank.stored.columns()[1], minlength=ITEMS)
    found = held / held.sum()
    for items in (slice(2, 6), slice(6, 8), slice(8, 11)):  # the clicked, those of the corpus alone, the pool
        assert float(found[items].sum()) == pytest.approx(
            float(mixed.mixture.bank_probability(torch.arange(ITEMS))[items].sum()), rel=0.03
        )
