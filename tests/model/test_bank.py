"""The bank: order, wrap-around, gradients, draws, resume. Axes: D embedding size, N rows of a push."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model.bank import CrossBatchBank


def rows(ids: list[int]) -> tuple[Tensor, Tensor]:
    """Embeddings [N, 2] that are computed from the ids, and the ids [N]."""
    numbers = torch.tensor(ids, dtype=torch.int64)
    return torch.stack([numbers, -numbers], dim=1).float(), numbers


def filled(pushes: list[list[int]], capacity: int = 5) -> CrossBatchBank:
    """A bank after pushes at steps 1, 2, ..."""
    bank = CrossBatchBank(capacity, 2)
    for step, ids in enumerate(pushes, start=1):
        bank.push(*rows(ids), step)
    return bank


@pytest.mark.parametrize(
    ("pushes", "ids", "steps"),
    [
        ([], [], []),
        ([[1, 2]], [1, 2], [1, 1]),
        ([[1, 2], [3, 4, 5]], [1, 2, 3, 4, 5], [1, 1, 2, 2, 2]),  # just full
        ([[1, 2], [3, 4], [5, 6]], [2, 3, 4, 5, 6], [1, 2, 2, 3, 3]),  # the oldest is overwritten
        ([[1, 2], [3, 4], [5, 6], [7, 8], [9]], [5, 6, 7, 8, 9], [3, 3, 4, 4, 5]),  # around twice
        ([[1, 2], [3, 4, 5, 6, 7, 8, 9]], [5, 6, 7, 8, 9], [2] * 5),  # a push larger than the bank
        ([[1, 2, 3], [], [4, 5, 6]], [2, 3, 4, 5, 6], [1, 1, 3, 3, 3]),
        ([[1, 1], [1]], [1, 1, 1], [1, 1, 2]),  # an item may be in it often
    ],
)
def test_first_in_first_out(pushes: list[list[int]], ids: list[int], steps: list[int]) -> None:
    bank = filled(pushes)
    embeddings, found_ids, found_steps = bank.columns()
    assert len(bank) == len(ids)
    assert found_ids.tolist() == ids
    assert found_steps.tolist() == steps
    assert torch.equal(embeddings, rows(ids)[0].view(-1, 2))


def test_nothing_in_it_has_a_gradient() -> None:
    embeddings = torch.ones(3, 2, requires_grad=True)
    bank = CrossBatchBank(5, 2)
    bank.push(embeddings * 2, torch.arange(3), 1)
    assert not bank.columns()[0].requires_grad
    weight = torch.ones(2, requires_grad=True)
    (bank.columns()[0] @ weight).sum().backward()
    assert weight.grad is not None
    assert embeddings.grad is None


def test_it_keeps_copies() -> None:
    embeddings, ids = rows([1, 2])
    bank = CrossBatchBank(5, 2)
    bank.push(embeddings, ids, 1)
    embeddings.zero_()
    ids.zero_()
    assert bank.columns()[1].tolist() == [1, 2]
    assert bank.columns()[0].tolist() == [[1, -1], [2, -2]]


def test_a_push_does_not_reach_into_columns_handed_out_before() -> None:
    bank = filled([[1, 2, 3, 4, 5]])
    before, _, steps = bank.columns()
    weight = torch.ones(2, requires_grad=True)
    loss = (before @ weight).square().sum()
    bank.push(*rows([6, 7]), 2)
    loss.backward()  # raises if a tensor of the graph was overwritten
    assert before[0].tolist() == [1, -1]
    assert (steps < 2).all()  # before its push, step 2 reads columns of earlier steps only


def test_a_draw_takes_distinct_columns_of_all_ages() -> None:
    bank = filled([[1, 2, 3], [4, 5], [6, 7, 8]], capacity=6)
    seen: set[int] = set()
    for seed in range(50):
        embeddings, ids, steps = bank.draw(3, torch.Generator().manual_seed(seed))
        assert len(set(ids.tolist())) == 3
        assert torch.equal(embeddings, rows(ids.tolist())[0])
        assert steps.tolist() == [{3: 1, 4: 2, 5: 2}.get(item, 3) for item in ids.tolist()]
        seen |= set(ids.tolist())
    assert seen == {3, 4, 5, 6, 7, 8}


def test_draws_are_even() -> None:
    bank, generator = filled([[0, 1, 2, 3, 4]]), torch.Generator().manual_seed(0)
    ids = torch.cat([bank.draw(2, generator)[1] for _ in range(5_000)])
    torch.testing.assert_close(torch.bincount(ids) / 2_000, torch.ones(5), rtol=0.06, atol=0)


@pytest.mark.parametrize(("asked", "got"), [(0, 0), (2, 2), (3, 3), (9, 3)])
def test_a_draw_takes_no_more_than_there_is(asked: int, got: int) -> None:
    assert [len(part) for part in filled([[1, 2, 3]]).draw(asked)] == [got] * 3


@pytest.mark.parametrize("pushes", [[[1, 2]], [[1, 2], [3, 4], [5, 6, 7]]])
def test_it_resumes_bit_for_bit(pushes: list[list[int]]) -> None:
    bank, resumed = filled(pushes), CrossBatchBank(5, 2)
    resumed.push(*rows([90, 91, 92, 93]), 1)  # is replaced by the loaded state
    state = bank.state_dict()
    bank.push(*rows([50]), 7)
    resumed.load_state_dict(state)
    resumed.push(*rows([50]), 7)
    for later in ([], [60, 61], [62, 63, 64], [65]):
        for each in (bank, resumed):
            each.push(*rows(later), 8)
        for found, wanted in zip(resumed.columns(), bank.columns(), strict=True):
            assert torch.equal(found, wanted)
        draws = [each.draw(2, torch.Generator().manual_seed(1)) for each in (bank, resumed)]
        assert all(torch.equal(found, wanted) for found, wanted in zip(*draws, strict=True))


def test_a_saved_bank_that_does_not_fit_is_refused() -> None:
    state = filled([[1, 2, 3, 4]]).state_dict()
    with pytest.raises(ValueError, match=r"at most 3 embeddings .* got 4"):
        CrossBatchBank(3, 2).load_state_dict(state)
    with pytest.raises(ValueError, match=r"\[4, 7\], got \[4, 2\]"):
        CrossBatchBank(5, 7).load_state_dict(state)
    with pytest.raises(ValueError, match=r"at most 5 embeddings of torch\.float64"):
        CrossBatchBank(5, 2, dtype=torch.float64).load_state_dict(state)


@pytest.mark.parametrize(
    ("embeddings", "ids", "step", "message"),
    [
        (torch.ones(2, 3), torch.arange(2), 9, r"embeddings must have shape \[any, 2\], got \[2, 3\]"),
        (torch.ones(2, 2), torch.arange(3), 9, r"ids must have shape \[2\], got \[3\]"),
        (torch.ones(2, 2), torch.ones(2), 9, "ids must be integers"),
        (torch.ones(2, 2), torch.arange(2), 1, "must not go back, got 1 after 2"),
    ],
)
def test_wrong_pushes_are_refused(embeddings: Any, ids: Any, step: int, message: str) -> None:
    bank = filled([[1], [2]])
    with pytest.raises(ValueError, match=message):
        bank.push(embeddings, ids, step)
    assert bank.columns()[1].tolist() == [1, 2]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 2"):
        CrossBatchBank(0, 2)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        filled([[1]]).draw(-1)
