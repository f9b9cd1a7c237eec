"""Row-wise Adagrad compared with a loop over rows. Axes: V rows of a table, D embedding size."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.training.optimizers import RowWiseAdagrad

ROWS, DIM = 9, 3


def table(seed: int = 0) -> nn.Embedding:
    weight = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed))
    return nn.Embedding(ROWS, DIM, sparse=True, _weight=weight)


def train_step(embedding: nn.Embedding, optimizer: torch.optim.Optimizer, ids: list[int]) -> None:
    optimizer.zero_grad()
    embedding(torch.tensor(ids, dtype=torch.int64)).square().sum().backward()
    optimizer.step()


def naive_step(weight: Tensor, sums: Tensor, ids: list[int], lr: float, eps: float, decay: float = 0.0) -> None:
    """The gradient of sum_i |row_i|^2 is 2 row, once for each occurrence of the id."""
    for row in set(ids):
        gradient = 2 * weight[row] * ids.count(row)
        sums[row] += (gradient**2).mean()
        weight[row] = (1 - lr * decay) * weight[row] - lr * gradient / (sums[row].sqrt() + eps)


@pytest.mark.parametrize(("eps", "start", "decay"), [(1e-10, 0.0, 0.0), (0.1, 0.5, 0.0), (1e-10, 0.0, 2.0)])
def test_equals_a_loop_over_rows(eps: float, start: float, decay: float) -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(
        embedding.parameters(), lr=0.1, eps=eps, initial_accumulator_value=start, weight_decay=decay
    )
    weight, sums = embedding.weight.detach().clone(), torch.full((ROWS,), start)
    for ids in ([1, 4, 4, 4], [4, 0], [1, 1], [8]):
        train_step(embedding, optimizer, ids)
        naive_step(weight, sums, ids, 0.1, eps, decay)
    assert (weight - table().weight)[[0, 1, 4, 8]].abs().min() > 1e-3
    torch.testing.assert_close(embedding.weight.detach(), weight)
    torch.testing.assert_close(optimizer.state[embedding.weight]["sum"], sums)


@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_rows_outside_the_batch_stay_bit_for_bit(decay: float) -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(embedding.parameters(), weight_decay=decay)
    train_step(embedding, optimizer, [2, 5])
    others = [row for row in range(ROWS) if row not in (2, 5)]
    assert torch.equal(embedding.weight[others], table().weight[others])
    assert (optimizer.state[embedding.weight]["sum"][others] == 0).all()


def test_a_row_whose_gradient_is_zero_does_not_decay() -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(embedding.parameters(), lr=0.1, weight_decay=5.0)
    (embedding(torch.tensor([3, 4])) * torch.tensor([[0.0], [1.0]])).sum().backward()
    optimizer.step()
    assert torch.equal(embedding.weight[3], table().weight[3])
    torch.testing.assert_close(embedding.weight[4], 0.5 * table().weight[4] - 0.1)


def test_the_state_is_one_number_per_row() -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(embedding.parameters())
    train_step(embedding, optimizer, [1])
    (state,) = optimizer.state_dict()["state"].values()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"sum": (ROWS,)}


def test_it_learns() -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(embedding.parameters(), lr=0.1)
    for _ in range(100):
        train_step(embedding, optimizer, list(range(ROWS)))
    assert embedding.weight.abs().max() < 0.2 * table().weight.abs().max()


def test_it_resumes_bit_for_bit() -> None:
    through = table()
    optimizer = RowWiseAdagrad(through.parameters(), lr=0.1, weight_decay=0.3)
    train_step(through, optimizer, [1, 2, 2])
    resumed = table()
    resumed.load_state_dict(through.state_dict())
    again = RowWiseAdagrad(resumed.parameters(), lr=0.9, eps=0.5)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for ids in ([2, 3], [1, 1]):
        train_step(through, optimizer, ids)
        train_step(resumed, again, ids)
    assert torch.equal(resumed.weight, through.weight)
    assert torch.equal(again.state[resumed.weight]["sum"], optimizer.state[through.weight]["sum"])


def test_each_parameter_group_has_its_own_learning_rate() -> None:
    still, moving = table(), table()
    groups: list[dict[str, Any]] = [{"params": still.weight, "lr": 0.0}, {"params": moving.weight}]
    optimizer = RowWiseAdagrad(groups, lr=0.1)
    loss = still(torch.tensor([1])).sum() + moving(torch.tensor([1])).sum()
    loss.backward()
    optimizer.step()
    assert torch.equal(still.weight, table().weight)
    # a gradient of ones has the root mean square 1: the first step is the learning rate
    torch.testing.assert_close(moving.weight[1], table().weight[1] - 0.1)


def test_an_empty_gradient_changes_nothing() -> None:
    embedding = table()
    optimizer = RowWiseAdagrad(embedding.parameters(), initial_accumulator_value=0.5)
    train_step(embedding, optimizer, [])
    assert torch.equal(embedding.weight, table().weight)
    assert (optimizer.state[embedding.weight]["sum"] == 0.5).all()


def test_step_returns_the_loss_of_its_closure_and_leaves_unused_tables() -> None:
    used, unused = table(), table(1)
    optimizer = RowWiseAdagrad([used.weight, unused.weight], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = used(torch.tensor([3])).square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == pytest.approx(table().weight[3].square().sum().item())
    assert not torch.equal(used.weight, table().weight)
    assert torch.equal(unused.weight, table(1).weight)


def test_dense_gradients_are_refused() -> None:
    embedding = nn.Embedding(ROWS, DIM)
    optimizer = RowWiseAdagrad(embedding.parameters())
    with pytest.raises(
        ValueError, match=r"the gradient must be sparse \(nn.Embedding\(sparse=True\)\), got torch.strided"
    ):
        train_step(embedding, optimizer, [1])


@pytest.mark.parametrize("parameter", [torch.zeros(3), torch.zeros(3, 2, dtype=torch.bfloat16)])
def test_a_tensor_that_is_not_a_table_is_refused(parameter: Tensor) -> None:
    with pytest.raises(ValueError, match=r"a table must be \[V, D\] of float32 or float64, got"):
        RowWiseAdagrad([nn.Parameter(parameter)])


@pytest.mark.parametrize("name", ["lr", "eps", "initial_accumulator_value", "weight_decay"])
def test_negative_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite and 0 or more, got -1"):
        RowWiseAdagrad(table().parameters(), **{name: -1.0})
