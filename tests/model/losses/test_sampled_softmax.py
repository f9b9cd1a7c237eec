"""Values of the loss, compared with hand-worked ones, a loop, and chunks; its memory and time.

Axes: B rows, C columns, D embedding size, L excluded ids.
"""

import math
import time
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.losses import Columns, RowNegatives, sampled_softmax_loss
from tests.model.losses.batches import CORRECTIONS, Inputs, gradients, naive_losses


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_equals_a_loop_over_rows_and_columns(correction: str) -> None:
    inputs = Inputs()
    naive, loss = naive_losses(inputs, correction), inputs.loss(correction=correction, reduction="none")
    torch.testing.assert_close(loss, naive)
    expected = gradients(naive.sum() / len(naive), inputs.leaves)
    torch.testing.assert_close(gradients(inputs.loss(correction=correction), inputs.leaves), expected)


def test_log_weight_makes_a_rows_own_negatives_harder() -> None:
    inputs = Inputs(1)
    harder = RowNegatives(inputs.own_embeddings, inputs.own_ids, log_weight=1.5)
    loss = inputs.loss(row_negatives=harder, reduction="none")
    torch.testing.assert_close(loss, naive_losses(inputs, "logq_negatives", log_weight=1.5))
    assert loss.mean() > 1.02 * inputs.loss()


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_the_positives_can_have_a_temperature_of_their_own(correction: str) -> None:
    inputs, own = Inputs(), torch.tensor(0.9, dtype=torch.float64).requires_grad_()
    naive = naive_losses(inputs, correction, positive_temperature=own)
    options = {"correction": correction, "positive_temperature": own}
    torch.testing.assert_close(inputs.loss(reduction="none", **options), naive)
    leaves = [*inputs.leaves, own]
    expected = gradients(naive.sum() / len(naive), leaves)
    torch.testing.assert_close(gradients(inputs.loss(chunk_size=5, **options), leaves), expected)
    assert not torch.isclose(naive.mean(), inputs.loss(correction=correction))


def test_a_positive_temperature_equal_to_the_temperature_changes_nothing() -> None:
    inputs = Inputs()
    torch.testing.assert_close(inputs.loss(positive_temperature=0.7), inputs.loss())


def test_a_number_as_temperature_equals_a_tensor() -> None:
    torch.testing.assert_close(Inputs().loss(temperature=0.7), Inputs().loss())


@pytest.mark.parametrize(
    ("correction", "odds"),
    [
        # temperature .5: scores 2 and 1.2 in the first row, 0 and 1.6 in the second; n = .5 and .25
        ("none", (math.exp(-0.8), math.exp(-1.6))),
        ("logq_negatives", (4 * math.exp(-0.8), 2 * math.exp(-1.6))),
        ("logq", (4 * 0.5 * math.exp(-0.8), 2 * 0.25 * math.exp(-1.6))),
    ],
)
def test_two_rows_and_two_items_by_hand(correction: str, odds: tuple[float, float]) -> None:
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    items = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    ids, log_n = torch.tensor([10, 20]), torch.tensor([0.5, 0.25]).log()
    losses = sampled_softmax_loss(
        query,
        items,
        ids,
        Columns(items, ids, log_n),
        temperature=0.5,
        correction=correction,
        positive_log_expected_count=log_n,
        reduction="none",
    )
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + odd) for odd in odds]))
    losses.sum().backward()
    first, second = (odd / (1 + odd) for odd in odds)  # the negative's share of each row
    # d loss / d u = share (v_negative - v_positive) / temperature
    expected = [[first * (0.6 - 1) / 0.5, first * 0.8 / 0.5], [second * (1 - 0.6) / 0.5, second * -0.8 / 0.5]]
    torch.testing.assert_close(query.grad, torch.tensor(expected))


def test_the_default_correction_value_in_figures() -> None:
    query = items = torch.eye(2)
    ids = torch.tensor([1, 2])
    loss = sampled_softmax_loss(query, items, ids, Columns(items, ids, torch.zeros(2)), temperature=0.5)
    assert loss.item() == pytest.approx(0.126928, abs=1e-6)  # ln(1 + e^-2)


def test_one_row_and_one_item() -> None:
    query = torch.ones(1, 3, requires_grad=True)
    ids = torch.tensor([4])
    loss = sampled_softmax_loss(query, query, ids, Columns(query, ids, torch.zeros(1)), temperature=1.0)
    loss.backward()
    assert loss == 0
    assert torch.equal(query.grad, torch.zeros(1, 3))


def test_no_columns_and_no_rows() -> None:
    inputs = Inputs(8, columns=0)
    torch.testing.assert_close(inputs.loss(reduction="none"), naive_losses(inputs, "logq_negatives"))
    assert Inputs(8, rows=0).loss() == 0


def test_padding_masks_no_column() -> None:
    inputs = Inputs(9)
    unmasked = inputs.loss(excluded_ids=None, row_negatives=None)
    padding = torch.full((7, 3), -1)
    assert inputs.loss(excluded_ids=padding, row_negatives=None) == unmasked
    inputs.column_ids = inputs.column_ids - 1  # an id may be -1 in the columns
    assert inputs.loss(excluded_ids=padding, row_negatives=None) == inputs.loss(excluded_ids=None, row_negatives=None)


def test_the_mean_divides_by_the_rows_not_by_the_weights() -> None:
    inputs = Inputs(10)
    losses = inputs.loss(weights=None, reduction="none")  # [B]
    torch.testing.assert_close(inputs.loss(), (losses * inputs.weights).sum() / 7)


def test_scores_far_beyond_the_range_of_exp_stay_finite() -> None:
    inputs = Inputs(11, dtype=torch.float32)
    loss = inputs.loss(temperature=1e-3, chunk_size=4)
    assert loss.isfinite()
    gradients(loss, inputs.leaves[:4])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_added_up_in_float32(dtype: torch.dtype) -> None:
    half, exact = Inputs(12, rows=4, columns=3000, dtype=dtype), Inputs(12, rows=4, columns=3000)
    for name in ("query", "positive", "column_embeddings", "own_embeddings"):
        setattr(exact, name, getattr(half, name).detach().double().requires_grad_())
    ids = torch.arange(3000) + 20
    half.column_ids = exact.column_ids = ids
    exact.column_log_n, exact.weights = half.column_log_n.double(), half.weights.double()
    loss, expected = half.loss(temperature=0.7), exact.loss(temperature=0.7)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected.float(), rtol=1e-5, atol=0)
    wanted_gradients = gradients(expected, exact.leaves[:2])
    for found, wanted in zip(gradients(loss, half.leaves[:2]), wanted_gradients, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), wanted, rtol=0.02, atol=1e-3)


def test_autocast_does_not_reach_into_the_loss() -> None:
    inputs = Inputs(13, dtype=torch.float32)
    expected = inputs.loss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert inputs.loss() == expected


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def large_batch(rows: int, columns: int, excluded: int) -> tuple[Tensor, Tensor, Tensor, Columns, Tensor]:
    """Queries, positives, their ids, columns and excluded ids [B, L], popular items first as in real logs."""
    generator = torch.Generator().manual_seed(0)
    catalogue = 100_000

    def ids(*shape: int) -> Tensor:
        return (catalogue ** torch.rand(*shape, generator=generator).double()).long() - 1

    query, positive, embeddings = (
        torch.nn.functional.normalize(torch.randn(n, 32, generator=generator), dim=1).requires_grad_()
        for n in (rows, rows, columns)
    )
    shared = Columns(embeddings, ids(columns), torch.zeros(columns))
    return query, positive, ids(rows), shared, ids(rows, excluded)


@pytest.mark.parametrize(("chunk_size", "bound"), [(256, 2 * 64 * 256), (None, 2 * 64 * 8192)])
def test_memory_is_rows_times_chunk(chunk_size: int | None, bound: int) -> None:
    query, positive, ids, columns, excluded = large_batch(64, 8192, excluded=50)
    query, positive = query[:, :1], positive[:, :1]  # narrow, so that the embeddings, C * D, are not the largest tensor
    columns = columns._replace(embeddings=columns.embeddings[:, :1].detach())
    options: dict[str, Any] = {"excluded_ids": excluded, "chunk_size": chunk_size}
    with LargestTensor() as largest:
        sampled_softmax_loss(query, positive, ids, columns, temperature=0.1, **options).backward()
    assert 64 * 256 <= largest.elements <= bound  # B * C * L would be 26 million


def test_excluded_ids_cost_at_most_a_fifth_more() -> None:
    query, positive, ids, columns, excluded = large_batch(256, 65_536, excluded=50)

    def seconds(excluded_ids: Tensor | None) -> float:
        started = time.process_time()
        sampled_softmax_loss(query, positive, ids, columns, temperature=0.1, excluded_ids=excluded_ids).backward()
        return time.process_time() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # process time includes threads that wait
    try:
        best = {True: math.inf, False: math.inf}
        for turn in range(24):
            for with_ids in best:
                best[with_ids] = min(best[with_ids], seconds(excluded if with_ids else None))
            if turn >= 3 and best[True] <= 1.2 * best[False]:
                break
    finally:
        torch.set_num_threads(threads)
    assert best[True] <= 1.2 * best[False]
