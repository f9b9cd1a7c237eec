"""Gradients of the loss: what they are, who gets one and who gets none. Axes: B rows, C columns."""

from typing import Any

import pytest
import torch

from model.losses import Columns, RowNegatives, rescale_column_gradient, sampled_softmax_loss
from model.losses.column_logsumexp import column_logsumexp
from tests.model.losses.batches import CORRECTIONS, Inputs, gradients, naive_losses


def test_the_gradient_of_logq_negatives_is_the_corrected_logq_correction() -> None:
    """-sg(1 - P) [s_y - ln sum_c e^{s_c} / n(c)], RecSys 2025, over the columns without accidental hits."""
    inputs = Inputs(2)
    leaves = [inputs.query, inputs.positive, inputs.column_embeddings, inputs.temperature]
    scores = inputs.query @ inputs.column_embeddings.T / inputs.temperature - inputs.column_log_n  # [B, C]
    scores = scores.masked_fill(inputs.positive_ids[:, None] == inputs.column_ids, -torch.inf)
    positive = (inputs.query * inputs.positive).sum(1) / inputs.temperature  # [B]
    probability = positive.exp() / (positive.exp() + scores.exp().sum(1))  # [B]
    form = -(1 - probability).detach() * (positive - scores.logsumexp(1))  # [B]
    expected = gradients(form.mean(), leaves)
    plain = inputs.loss(row_negatives=None, excluded_ids=None, weights=None)
    torch.testing.assert_close(gradients(plain, leaves), expected, rtol=0, atol=1e-6)
    assert not torch.isclose(form.mean(), plain)  # the gradients are equal, but not the values


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 22, 23, 100])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_chunks_change_neither_value_nor_gradient(correction: str, chunk_size: int) -> None:
    inputs = Inputs(3)
    whole, chunked = (inputs.loss(correction=correction, chunk_size=size) for size in (None, chunk_size))
    expected = gradients(whole, inputs.leaves)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(gradients(chunked, inputs.leaves), expected)


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_columns_without_gradient_are_columns_all_the_same(correction: str, chunk_size: int | None) -> None:
    inputs = Inputs(columns=23)
    joined = torch.cat([inputs.column_embeddings[:9], inputs.column_embeddings[9:].detach()])
    parts = [
        Columns(joined[part], inputs.column_ids[part], inputs.column_log_n[part]) for part in (slice(9), slice(9, None))
    ]
    options = {
        "temperature": inputs.temperature,
        "correction": correction,
        "positive_log_expected_count": inputs.positive_log_n,
        "excluded_ids": inputs.excluded_ids,
        "row_negatives": RowNegatives(inputs.own_embeddings, inputs.own_ids),
        "chunk_size": chunk_size,
    }
    rows = (inputs.query, inputs.positive, inputs.positive_ids)
    together = sampled_softmax_loss(*rows, Columns(joined, inputs.column_ids, inputs.column_log_n), **options)  # type: ignore[arg-type]
    apart = sampled_softmax_loss(*rows, parts[0], constant_columns=parts[1], **options)  # type: ignore[arg-type]
    torch.testing.assert_close(apart, together)
    want, got = (torch.autograd.grad(loss, inputs.leaves) for loss in (together, apart))
    assert want[2].abs().sum() > 0
    torch.testing.assert_close(got, want)


def test_constant_columns_get_no_gradient_even_where_they_could() -> None:
    inputs = Inputs()
    columns = Columns(inputs.column_embeddings, inputs.column_ids, inputs.column_log_n)
    empty = Columns(inputs.column_embeddings[:0], inputs.column_ids[:0], inputs.column_log_n[:0])
    loss = sampled_softmax_loss(
        inputs.query, inputs.positive, inputs.positive_ids, empty, temperature=0.7, constant_columns=columns
    )
    (gradient,) = torch.autograd.grad(loss, inputs.column_embeddings, allow_unused=True)
    assert loss > 0
    assert gradient is None or not gradient.any()


def test_the_counts_may_carry_a_gradient() -> None:
    inputs = Inputs(4)
    inputs.column_log_n.requires_grad_()
    expected = gradients(naive_losses(inputs, "logq_negatives").mean(), [inputs.column_log_n])
    found = gradients(inputs.loss(chunk_size=5), [inputs.column_log_n])
    torch.testing.assert_close(found, expected)


def test_the_derivative_is_the_slope() -> None:
    inputs = Inputs(5, rows=3, columns=6)
    ids, masked = torch.tensor([4, 2, 2, 9, 1, 4]), torch.tensor([[2, -1], [4, 1], [7, 7]])
    arguments = (inputs.query, inputs.column_embeddings, inputs.column_log_n.requires_grad_())
    assert torch.autograd.gradcheck(lambda *tensors: column_logsumexp(*tensors, ids, masked, 2), arguments)


def test_a_chunk_that_is_masked_whole() -> None:
    inputs = Inputs(6, rows=2, columns=6)
    inputs.column_ids = torch.tensor([5, 3, 3, 5, 3, 8])  # by id: three 3, two 5, one 8
    inputs.positive_ids = torch.tensor([3, 8])
    changes: dict[str, Any] = {"row_negatives": None, "excluded_ids": None}
    leaves = [inputs.query, inputs.positive, inputs.column_embeddings]
    whole, chunked = inputs.loss(**changes), inputs.loss(chunk_size=3, **changes)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(gradients(chunked, leaves), gradients(whole, leaves))


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_row_with_nothing_left_has_no_loss_and_no_gradient(correction: str, chunk_size: int | None) -> None:
    inputs = Inputs(7, rows=2, columns=4)
    inputs.column_ids, inputs.positive_ids = torch.tensor([3, 4, 3, 5]), torch.tensor([3, 9])
    inputs.excluded_ids = torch.tensor([[4, 5], [-1, -1]])
    inputs.own_ids = torch.tensor([[3, 4, 5, -1], [5, 6, 7, -1]])
    loss = inputs.loss(correction=correction, chunk_size=chunk_size, reduction="none")
    assert loss[0] == 0
    assert loss[1] > 0
    for gradient in gradients(loss.sum(), inputs.leaves[:4])[:2]:
        assert (gradient[0] == 0).all()
        assert (gradient[1] != 0).all()


def test_rescaling_changes_the_gradient_of_columns_and_nothing_else() -> None:
    embeddings = torch.randn(3, 2, requires_grad=True)
    log_n, log_fresh = torch.tensor([2.0, 1.0, 9.0]).log(), torch.tensor([1.0, 1.0, 1.0]).log()
    rescaled = rescale_column_gradient(embeddings, log_n, log_fresh)
    assert torch.equal(rescaled, embeddings)
    (gradient,) = torch.autograd.grad(rescaled.sum(), embeddings)
    torch.testing.assert_close(gradient, torch.tensor([[2.0, 2.0], [1.0, 1.0], [9.0, 9.0]]))
    with pytest.raises(ValueError, match="finite"):
        rescale_column_gradient(embeddings, log_n, torch.tensor([0.0, -torch.inf, 0.0]))
