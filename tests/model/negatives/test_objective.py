"""Each preset's columns and counts, held against the loss called by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.frequency import StreamingFrequency
from model.losses import Columns, RowNegatives, sampled_softmax_loss
from model.negatives.objective import Objective
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities

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


def objective(
    probabilities: Probabilities | None = None,
    *,
    estimator: StreamingFrequency | None = None,
    learn_temperature: bool = False,
    **negatives: object,
) -> Objective:
    settings = Negatives(**{"correction": "logq_negatives", **negatives})  # type: ignore[arg-type]
    given = probabilities or Probabilities(Q, U, P)
    return Objective(
        given,
        settings,
        temperature=0.5,
        batch_size=B,
        dim=D,
        seed=7,
        estimator=estimator,
        learn_temperature=learn_temperature,
    )


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
    drawn = objective(corpus=6, unclicked=3).mixture.draw()
    assert len(drawn) == 9
    assert set(drawn[6:].tolist()) <= {8, 9, 10}
    loss = mns(queries, POSITIVES, lambda ids: table[ids])
    n = (B - 1) * Q + 6 * U + 3 * P
    assert torch.allclose(loss, by_hand(queries, table, torch.cat([POSITIVES, drawn]), n))
    assert not torch.equal(mns.mixture.draw(), drawn)  # anew for each batch


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
    everything = torch.arange(ITEMS)
    assert torch.allclose(mixed.mixture.bank_probability(everything), (B * Q + 4 * U + 1 * P) / (B + 5))
    positives_only = objective(corpus=4, unclicked=1, bank=20)
    assert torch.allclose(positives_only.mixture.bank_probability(everything), Q)


@pytest.mark.parametrize(("holds", "size"), [("positives", B), ("all", B + 7)])
def test_the_bank_is_filled_from_what_it_is_said_to_hold(queries: Tensor, table: Tensor, holds: str, size: int) -> None:
    mixed = objective(corpus=7, bank=50, bank_holds=holds)
    mixed(queries, POSITIVES, lambda ids: table[ids])
    assert mixed.mixture.bank is not None
    embeddings, ids, steps = mixed.mixture.bank.stored.columns()
    assert len(ids) == size
    assert not embeddings.requires_grad
    assert torch.equal(embeddings, table[ids])
    assert set(steps.tolist()) == {1}


def test_the_cure_changes_the_items_gradient_and_nothing_else(queries: Tensor, table: Tensor) -> None:
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


USERS = torch.tensor([7, 8, 9, 8, 7])  # two users have two rows


def without(queries: Tensor, table: Tensor, excluded: list[list[int]], ids: Tensor | None = None) -> Tensor:
    """The loss by hand over the positives, or over columns `ids`, with excluded ids."""
    ids = POSITIVES if ids is None else ids
    n = (len(ids) - 1) * Q
    columns = Columns(table[ids], ids, n[ids].log().float())
    return sampled_softmax_loss(
        queries, table[POSITIVES], POSITIVES, columns, temperature=0.5, excluded_ids=torch.tensor(excluded)
    )


def test_what_the_user_clicked_in_other_rows_is_masked_where_it_is_asked_for(queries: Tensor, table: Tensor) -> None:
    loss = objective(mask="user")(queries, POSITIVES, lambda ids: table[ids], users=USERS)
    wanted = without(queries, table, [[4 + 1], [4], [-1], [3], [2]])  # rows 0 and 4, rows 1 and 3
    assert torch.allclose(loss, wanted)
    assert loss < objective()(queries, POSITIVES, lambda ids: table[ids], users=USERS)


def test_what_the_user_clicked_in_the_banks_steps_is_masked_too(queries: Tensor, table: Tensor) -> None:
    cbns = objective(mask="user", bank=B)
    cbns(queries, POSITIVES, lambda ids: table[ids], users=USERS)
    loss = cbns(queries, POSITIVES, lambda ids: table[ids], users=torch.tensor([9, 1, 1, 1, 1]))
    # row 0 is user 9's, who clicked item 2 before; rows 1 to 4 are all of user 1
    others = [[2, -1, -1, -1], *([[3, 2, 4, 5]] * 4)]
    assert torch.allclose(loss, without(queries, table, others, torch.cat([POSITIVES, POSITIVES])), atol=1e-4)


def test_a_users_history_is_masked_where_it_is_asked_for(queries: Tensor, table: Tensor) -> None:
    history, apart = torch.tensor([[3, 4, 5, 0]] * B), torch.arange(B)
    masked = objective(mask="history")(queries, POSITIVES, lambda ids: table[ids], history, apart)
    assert torch.allclose(masked, without(queries, table, [[3, 4, 5, -1]] * B))
    assert masked < objective()(queries, POSITIVES, lambda ids: table[ids], history, apart)


@pytest.mark.parametrize(
    ("mask", "given", "message"),
    [
        ("user", {}, "needs the users of the rows, got None"),
        ("history", {"users": USERS}, "a user feature named history, got None"),
    ],
)
def test_a_mask_without_what_it_masks_by_is_refused(
    queries: Tensor, table: Tensor, mask: str, given: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        objective(mask=mask)(queries, POSITIVES, lambda ids: table[ids], **given)


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


def test_own_negatives_are_no_columns_of_the_bank(queries: Tensor, table: Tensor) -> None:
    mixed = objective(bank=50, bank_holds="all", corpus=2, row=2)
    mixed(queries, POSITIVES, lambda ids: table[ids], own=torch.tensor([[8, 9]] * B))
    assert mixed.mixture.bank is not None
    assert len(mixed.mixture.bank.stored) == B + 2


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


def test_what_a_full_bank_holds_of_each_source_is_what_its_counts_say() -> None:
    """A capacity of three pushes and a half: of the push that the ring cuts, no source may stay more often."""
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


def test_the_stream_knows_nothing_of_items_that_are_in_no_batch(queries: Tensor, table: Tensor) -> None:
    """As many buckets as items that were never clicked: their guesses must not add up to a batch of their own."""
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
    with pytest.raises(ValueError, match="the saved bank must be absent"):
        objective().load_state_dict(objective(bank=8).state_dict())
    with pytest.raises(ValueError, match="the saved estimator must be present"):
        objective(estimator=StreamingFrequency(ITEMS)).load_state_dict(objective().state_dict())
    with pytest.raises(ValueError, match=r"the saved sources must be \['corpus'\], got \['unclicked'\]"):
        objective(corpus=2).load_state_dict(objective(unclicked=2).state_dict())
