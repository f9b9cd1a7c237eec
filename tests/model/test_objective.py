"""Each preset's columns and counts, held against the loss called by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.losses import Columns, sampled_softmax_loss
from model.objective import Negatives, Objective, Probabilities

ITEMS, D, B = 12, 4, 5
Q = torch.tensor([0, 0, 0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
U = torch.cat([torch.zeros(2), torch.full((10,), 0.1)]).double()
P = torch.tensor([0.0] * 8 + [0.5, 0.25, 0.25, 0], dtype=torch.float64)
POSITIVES = torch.tensor([2, 3, 2, 4, 5])


@pytest.fixture
def table() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(ITEMS, D, generator=torch.Generator().manual_seed(1)), dim=1)


@pytest.fixture
def queries() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(B, D, generator=torch.Generator().manual_seed(2)), dim=1)


def objective(probabilities: Probabilities | None = None, **negatives: object) -> Objective:
    settings = Negatives(**{"correction": "logq_negatives", **negatives})  # type: ignore[arg-type]
    given = probabilities or Probabilities(Q, U, P)
    return Objective(given, settings, temperature=0.5, batch_size=B, dim=D, seed=7)


def by_hand(queries: Tensor, table: Tensor, ids: Tensor, n: Tensor, correction: str = "logq_negatives") -> Tensor:
    columns = Columns(table[ids], ids, n[ids].log().float())
    counts = n[POSITIVES].log().float()
    return sampled_softmax_loss(
        queries,
        table[POSITIVES],
        POSITIVES,
        columns,
        temperature=0.5,
        correction=correction,
        positive_log_expected_count=counts,
    )


@pytest.mark.parametrize("correction", ["none", "logq", "logq_negatives"])
def test_in_batch_takes_the_positives_of_the_other_rows(queries: Tensor, table: Tensor, correction: str) -> None:
    loss = objective(correction=correction)(queries, POSITIVES, lambda ids: table[ids])
    assert torch.allclose(loss, by_hand(queries, table, POSITIVES, (B - 1) * Q, correction))


def test_mns_counts_every_source_on_every_column(queries: Tensor, table: Tensor) -> None:
    mns = objective(corpus=6, unclicked=3)
    drawn = objective(corpus=6, unclicked=3).draw()
    assert len(drawn) == 9
    assert set(drawn[6:].tolist()) <= {8, 9, 10}
    loss = mns(queries, POSITIVES, lambda ids: table[ids])
    n = (B - 1) * Q + 6 * U + 3 * P
    assert torch.allclose(loss, by_hand(queries, table, torch.cat([POSITIVES, drawn]), n))
    assert not torch.equal(mns.draw(), drawn)  # anew for each batch


def test_the_bank_lends_past_columns_once_it_is_warm(queries: Tensor, table: Tensor) -> None:
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
    assert torch.allclose(loss, wanted)  # what the bank holds is as it was, what is fresh is of this step


def test_a_bank_of_everything_is_counted_by_the_mixture_it_is_filled_from() -> None:
    mixed = objective(corpus=4, unclicked=1, bank=20, bank_holds="all")
    assert torch.allclose(mixed.bank_probability, (B * Q + 4 * U + 1 * P) / (B + 5))
    positives_only = objective(corpus=4, unclicked=1, bank=20)
    assert torch.allclose(positives_only.bank_probability, Q)


@pytest.mark.parametrize(("holds", "size"), [("positives", B), ("all", B + 7)])
def test_the_bank_is_filled_from_what_it_is_said_to_hold(queries: Tensor, table: Tensor, holds: str, size: int) -> None:
    mixed = objective(corpus=7, bank=50, bank_holds=holds)
    mixed(queries, POSITIVES, lambda ids: table[ids])
    assert mixed.bank is not None
    embeddings, ids, steps = mixed.bank.columns()
    assert len(ids) == size
    assert not embeddings.requires_grad
    assert torch.equal(embeddings, table[ids])
    assert set(steps.tolist()) == {1}


def test_the_cure_changes_the_items_gradient_and_nothing_else(queries: Tensor, table: Tensor) -> None:
    found = {}
    for cure in (True, False):
        cbns, weights, asked = (
            objective(bank=B, bank_gradient_cure=cure),
            table.clone().requires_grad_(),
            queries.clone().requires_grad_(),
        )
        cbns(asked, POSITIVES, lambda ids, weights=weights: weights[ids])  # type: ignore[misc]
        loss = cbns(asked, POSITIVES, lambda ids, weights=weights: weights[ids])  # type: ignore[misc]
        found[cure] = (loss.detach(), *torch.autograd.grad(loss, (asked, weights)))
    assert torch.allclose(found[True][0], found[False][0])
    assert torch.allclose(found[True][1], found[False][1])
    assert (found[True][2] - found[False][2]).abs().max() > 1e-3


def test_a_users_history_is_masked_where_it_is_asked_for(queries: Tensor, table: Tensor) -> None:
    history = torch.tensor([[3, 4, 5, 0]] * B)
    loss = objective(mask_history=True)(queries[:1], POSITIVES[:1], lambda ids: table[ids], history[:1])
    assert loss == 0  # all that is left is its own positive
    masked = objective(mask_history=True)(queries, POSITIVES, lambda ids: table[ids], history)
    columns = Columns(table[POSITIVES], POSITIVES, ((B - 1) * Q)[POSITIVES].log().float())
    excluded = torch.where(history == 0, -1, history)
    wanted = sampled_softmax_loss(queries, table[POSITIVES], POSITIVES, columns, temperature=0.5, excluded_ids=excluded)
    assert torch.allclose(masked, wanted)
    assert masked < objective()(queries, POSITIVES, lambda ids: table[ids], history)


def test_an_empty_pool_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match=r"negatives\.unclicked asks for draws .* the pool is empty"):
        objective(Probabilities(Q, U, torch.zeros(ITEMS, dtype=torch.float64)), unclicked=3)


def test_a_positive_that_is_never_expected_is_named(queries: Tensor, table: Tensor) -> None:
    with pytest.raises(ValueError, match="11"):
        objective()(queries, torch.tensor([2, 3, 11, 4, 5]), lambda ids: table[ids])
