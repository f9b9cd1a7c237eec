"""Exponentials that are kept for the backward pass give what computing them again gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from model.losses import column_logsumexp as losses
from model.losses import kept_buffers
from model.losses.column_logsumexp import column_logsumexp

B, C, D, ITEMS = 5, 40, 8, 12


@pytest.fixture(autouse=True)
def no_free_buffers() -> Iterator[None]:
    kept_buffers._free.clear()
    yield
    kept_buffers._free.clear()


def leaves(scale: float = 1.0, seed: int = 0) -> list[Tensor]:
    """Query [B, D], columns [C, D] and their bias [C]."""
    random = torch.Generator().manual_seed(seed)
    shapes = ((B, D), (C, D), (C,))
    return [(scale * torch.randn(shape, generator=random, dtype=torch.float64)).requires_grad_() for shape in shapes]


def ids_and_masks(seed: int = 0) -> tuple[Tensor, Tensor]:
    """The second row masks every column."""
    random = torch.Generator().manual_seed(seed)
    masked = torch.randint(ITEMS, (B, ITEMS), generator=random)
    masked[torch.rand(B, ITEMS, generator=random) < 0.7] = -1
    masked[1] = torch.arange(ITEMS)
    return torch.randint(ITEMS, (C,), generator=random), masked


def by_definition(query: Tensor, embeddings: Tensor, bias: Tensor) -> Tensor:
    ids, masked = ids_and_masks()
    is_masked = (ids[None, :, None] == masked[:, None, :]).any(dim=2)
    return (query @ embeddings.T + bias).masked_fill(is_masked, -torch.inf).logsumexp(dim=1)


def gradients(result: Tensor, of: list[Tensor]) -> list[Tensor]:
    """Of a sum with another weight for each row, without the row whose columns are all masked."""
    weights = torch.tensor([1.0, 0.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    total = (result.masked_fill(result == -torch.inf, 0.0) * weights).sum()
    return list(torch.autograd.grad(total, of, retain_graph=True))


@pytest.mark.parametrize("scale", [1.0, 5.0, 100.0], ids=["bound", "beyond the bound", "far beyond it"])
@pytest.mark.parametrize("chunk_size", [None, C, 7])
def test_value_and_gradients_are_by_definition(
    chunk_size: int | None, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CPU_LOGITS_AT_ONCE", 6 * B)  # several chunks
    values = leaves(scale)
    has_bound = losses.exponent_bound(*(value.detach() for value in values)) is not None
    assert has_bound == (scale == 1.0)
    result, expected = column_logsumexp(*values, *ids_and_masks(), chunk_size), by_definition(*values)
    assert result[1] == -torch.inf
    torch.testing.assert_close(result, expected)
    for found, wanted in zip(gradients(result, values), gradients(expected, values), strict=True):
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(found, wanted)
    assert len(kept_buffers._free) == (has_bound and chunk_size != 7)


def test_gradients_are_finite_if_a_row_masks_all_columns() -> None:
    """exp2 of the bound is infinite here."""
    query, embeddings, bias = (value.detach().float() for value in leaves())
    values = [query.requires_grad_(), embeddings.requires_grad_(), (bias * 0 + 200).requires_grad_()]
    result = column_logsumexp(*values, *ids_and_masks())
    assert kept_buffers._free == []
    for gradient in gradients(result, values):
        assert torch.isfinite(gradient).all()
    assert len(kept_buffers._free) == 1


def test_a_second_backward_pass_and_another_loss_in_between_change_nothing() -> None:
    first, second = leaves(seed=1), leaves(seed=2)
    expected = [gradients(by_definition(*values), values) for values in (first, second)]
    losses_of = [column_logsumexp(*values, *ids_and_masks()) for values in (first, second)]
    for _ in range(2):
        for values, result, wanted in zip((first, second), losses_of, expected, strict=True):
            torch.testing.assert_close(gradients(result, values), wanted)
            column_logsumexp(*leaves(seed=3), *ids_and_masks())  # takes the free buffer and fills it


def test_steps_use_the_same_memory_again() -> None:
    places = set()
    for seed in range(3):
        values = leaves(seed=seed)
        gradients(column_logsumexp(*values, *ids_and_masks()), values)
        places.add(kept_buffers._free[0].data_ptr())
    assert len(places) == 1


def test_nothing_is_kept_beyond_the_bound_or_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    values = leaves()
    with torch.no_grad():
        column_logsumexp(*values, *ids_and_masks())
    gradients(column_logsumexp(*values, *ids_and_masks(), C - 1), values)
    monkeypatch.setattr(losses, "KEPT_BYTES", 8 * B * C - 1)
    gradients(column_logsumexp(*values, *ids_and_masks()), values)
    assert kept_buffers._free == []


def test_of_too_many_free_buffers_the_smallest_goes() -> None:
    taken = [kept_buffers.take(size, torch.float32) for size in (3, 9, 6)]
    for buffer in taken:
        kept_buffers.give_back(buffer)
    assert [len(buffer) for buffer in kept_buffers._free] == [6, 9]
    assert kept_buffers.take(5, torch.float32) is taken[2]
    assert len(kept_buffers.take(5, torch.float64)) == 5
