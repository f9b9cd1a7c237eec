"""Each preset's columns and counts, compared with a direct call of the loss; temperature, stream, saved state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.frequency import StreamingFrequency
from model.losses import Columns, RowNegatives, sampled_softmax_loss
from model.negatives.objective import Objective
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities
from tests.model.negatives.objectives import ITEMS, POSITIVES, USERS, B, D, P, Q, U, by_hand, objective


@pytest.mark.parametrize("correction", ["none", "logq", "logq_negatives"])
def test_in_batch_takes_the_positives_of_the_other_rows(queries: Tensor, table: Tensor, correction: str) -> None:
    loss = objective(correction=correction)(queries, POSITIVES, lambda ids: table[ids])
    assert torch.allclose(loss, by_hand(queries, table, POSITIVES, (B - 1) * Q, correction))


def test_mns_counts_every_source_on_every_column(queries: Tensor, table: Tensor) -> None:
    mns = objective(corpus=6, unclicked=3)
    drawn = objective(corpus=6, unclicked=3).mixture.draw()
    assert len(drawn) == 9
    assert set(drawn[6:].tolist()) <= {8, 9, 10}
    loss = mns(queries, POSITIVES, lambda ids: table[ids])
    n = (B - 1) * Q + 6 * U + 3 * P
    assert torch.allclose(loss, by_hand(queries, table, torch.cat([POSITIVES, drawn]), n))
    assert not torch.equal(mns.mixture.draw(), drawn)  # anew for each batch


def test_an_empty_pool_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match=r"negatives\.unclicked must be 0 if the unclicked pool is empty, got 3"):
        objective(Probabilities(Q, U, torch.zeros(ITEMS, dtype=torch.float64)), unclicked=3)


def test_a_positive_that_is_never_expected_is_named(queries: Tensor, table: Tensor) -> None:
    with pytest.raises(ValueError, match="11"):
        objective()(queries, torch.tensor([2, 3, 11, 4, 5]), lambda ids: table[ids])


def test_a_correction_without_counts_is_refused() -> None:
    nothing = Probabilities(torch.zeros(ITEMS, dtype=torch.float64), U, P)
    with pytest.raises(ValueError, match=r"training\.correction logq needs item_sampling_probs\.q"):
        objective(nothing, correction="logq")
    objective(nothing, correction="none")


def test_own_negatives_are_embedded_once_and_count_for_their_row(queries: Tensor, table: Tensor) -> None:
    asked: list[Tensor] = []

    def embed(ids: Tensor) -> Tensor:
        asked.append(ids)
        return table[ids]

    own = torch.tensor([[8, 9, 0], [8, 0, 0], [0, 0, 0], [9, 8, 10], [8, 8, 0]])
    loss = objective(row=3, row_log_weight=0.3)(queries, POSITIVES, embed, own=own)
    assert asked[0].tolist() == [*POSITIVES.tolist(), 0, 8, 9, 10]
    columns = Columns(table[POSITIVES], POSITIVES, ((B - 1) * Q)[POSITIVES].log().float())
    negatives = RowNegatives(table[own], torch.where(own == 0, -1, own), 0.3)
    wanted = sampled_softmax_loss(
        queries, table[POSITIVES], POSITIVES, columns, temperature=0.5, row_negatives=negatives
    )
    assert torch.allclose(loss, wanted)


def test_weights_multiply_the_rows_losses(queries: Tensor, table: Tensor) -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    loss = objective()(queries, POSITIVES, lambda ids: table[ids], weights=weights)
    columns = Columns(table[POSITIVES], POSITIVES, ((B - 1) * Q)[POSITIVES].log().float())
    rows = sampled_softmax_loss(queries, table[POSITIVES], POSITIVES, columns, temperature=0.5, reduction="none")
    assert torch.allclose(loss, (weights * rows).sum() / B)


def test_a_learned_temperature_follows_its_gradient_and_a_fixed_one_has_none(queries: Tensor, table: Tensor) -> None:
    fixed, learned = objective(), objective(learn_temperature=True)
    assert fixed.parameters() == []
    before = learned(queries, POSITIVES, lambda ids: table[ids])
    assert torch.allclose(before, fixed(queries, POSITIVES, lambda ids: table[ids]))
    (parameter,) = learned.parameters()
    before.backward()
    assert parameter.grad is not None
    assert parameter.grad.abs() > 0
    with torch.no_grad():
        parameter -= 0.01 * parameter.grad.sign()
    assert learned(queries, POSITIVES, lambda ids: table[ids]) < before


def test_a_learned_temperature_never_reaches_zero_and_can_rise_again(queries: Tensor, table: Tensor) -> None:
    cold = objective(learn_temperature=True)
    cold.log_temperature.data.fill_(-50)
    loss = cold(queries, POSITIVES, lambda ids: table[ids])
    assert float(cold.temperature.detach()) == pytest.approx(0.01)
    loss.backward()
    assert cold.log_temperature.grad is not None
    assert cold.log_temperature.grad.abs() > 0


def test_a_temperature_to_be_learned_starts_above_the_floor() -> None:
    with pytest.raises(ValueError, match=r"training\.temperature must be at least 0\.01 to be learned, got 0\.009"):
        Objective(
            Probabilities(Q, U, P),
            Negatives("none"),
            temperature=0.009,
            batch_size=B,
            dim=D,
            seed=1,
            learn_temperature=True,
        )


@pytest.mark.parametrize(("name", "value"), [("mask", "users"), ("bank_holds", "al")])
def test_a_misspelt_choice_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"negatives\.{name} must be one of .*, got '{value}'"):
        objective(**{name: value})


def test_the_stream_knows_nothing_of_items_that_are_in_no_batch(queries: Tensor, table: Tensor) -> None:
    """Buckets of items that were never clicked have an initial estimate, which must not count."""
    streaming = objective(estimator=StreamingFrequency(ITEMS, alpha=0.01), corpus=6)
    for _ in range(3):
        streaming(queries, POSITIVES, lambda ids: table[ids])
    share = streaming.mixture.in_batch.probability(torch.arange(ITEMS))
    assert share[Q == 0].tolist() == [0] * 8
    assert float(share.sum()) == pytest.approx(1, abs=0.1)


def test_the_stream_takes_the_place_of_the_counts_and_starts_from_them(queries: Tensor, table: Tensor) -> None:
    streaming = objective(estimator=StreamingFrequency(ITEMS, alpha=0.05), bank=8)
    counted = objective(bank=8)
    known = Q.nonzero()[:, 0]
    torch.testing.assert_close(streaming.mixture.in_batch.probability(known), Q[known], rtol=1e-4, atol=0)
    losses = [one(queries, POSITIVES, lambda ids: table[ids]) for one in (streaming, counted)]
    assert torch.allclose(*losses)
    assert streaming.mixture.in_batch.estimator is not None
    assert float(streaming.mixture.in_batch.probability(torch.tensor([3]))) < float(
        Q[3]
    )  # one of the five rows was item 3


def test_a_smaller_last_batch_does_not_make_items_rarer(queries: Tensor, table: Tensor) -> None:
    streaming = objective(estimator=StreamingFrequency(ITEMS, alpha=0.05))
    before = streaming.mixture.in_batch.probability(POSITIVES)
    streaming(queries[:2], POSITIVES[:2], lambda ids: table[ids])
    assert torch.equal(streaming.mixture.in_batch.probability(POSITIVES), before)
    assert streaming.mixture.in_batch.estimator is not None
    assert streaming.mixture.in_batch.estimator.step == 0
    streaming(queries, POSITIVES, lambda ids: table[ids])
    assert streaming.mixture.in_batch.estimator.step == 1


def test_the_report_tells_what_the_sources_came_to(queries: Tensor, table: Tensor) -> None:
    mixed = objective(bank=8, estimator=StreamingFrequency(ITEMS, alpha=0.05))
    for _ in range(21):
        mixed(queries, POSITIVES, lambda ids: table[ids])
    report = mixed.report()
    assert report["temperature"] == pytest.approx(0.5)
    assert (report["bank_warm_at"], report["bank_drift"]) == (1, pytest.approx(0, abs=1e-6))
    assert report["estimator"]["items"] == 4
    assert report["estimator"]["total_variation"] > 0
    assert report["estimator"]["updates"] == 21
    assert set(objective().report()) == {"temperature"}


def test_a_resumed_objective_goes_on_to_the_bit(queries: Tensor, table: Tensor) -> None:
    def fresh() -> Objective:
        estimator = StreamingFrequency(ITEMS, alpha=0.05)
        return objective(
            corpus=6,
            unclicked=2,
            bank=30,
            bank_holds="all",
            mask="user",
            bank_warmup_steps=1_000,
            bank_warmup_drift=0.5,
            estimator=estimator,
            learn_temperature=True,
        )

    undisturbed = fresh()
    for _ in range(22):  # beyond the steps at which the bank is measured
        undisturbed(queries, POSITIVES, lambda ids: table[ids], users=USERS)
    undisturbed.log_temperature.data -= 0.1
    resumed = fresh()
    resumed.load_state_dict(undisturbed.state_dict())
    for _ in range(3):
        losses = [one(queries, POSITIVES, lambda ids: table[ids], users=USERS) for one in (undisturbed, resumed)]
        assert torch.equal(*losses)


def test_a_state_of_other_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="the saved state must have no bank, got one"):
        objective().load_state_dict(objective(bank=8).state_dict())
    with pytest.raises(ValueError, match="the saved state must have an estimator, got none"):
        objective(estimator=StreamingFrequency(ITEMS)).load_state_dict(objective().state_dict())
    with pytest.raises(ValueError, match=r"the saved sources must be \['corpus'\], got \['unclicked'\]"):
        objective(corpus=2).load_state_dict(objective(unclicked=2).state_dict())


def test_a_row_with_several_interests_has_the_loss_of_its_best_one(queries: Tensor, table: Tensor) -> None:
    interests = torch.stack([queries, queries.roll(1, dims=0), -queries], dim=1)  # [B, 3, D]
    scores = torch.einsum("bqd,bd->bq", interests, table[POSITIVES])
    best = interests[torch.arange(B), scores.argmax(dim=1)]
    assert not torch.equal(best, queries)
    own = torch.tensor([[8, 9, 0], [8, 0, 0], [0, 0, 0], [9, 8, 10], [8, 8, 0]])
    losses = [
        objective(corpus=6, row=3)(given, POSITIVES, lambda ids: table[ids], own=own)
        for given in (interests, best, queries[:, None], queries)
    ]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[2], losses[3])
