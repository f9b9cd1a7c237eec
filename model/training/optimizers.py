"""Row-wise Adagrad for embedding tables with sparse gradients: its state is one number per row.

Its weight decay is decoupled from the gradient (as in AdamW) and lazy: a step changes only the rows with a gradient.

Axes: V rows of a table, D embedding size, N rows of a gradient, R distinct rows among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data import devices


class RowWiseAdagrad(torch.optim.Optimizer):
    """row <- (1 - lr weight_decay) row - lr g / (sqrt(sum over the steps of mean(g^2)) + eps), if g is not 0.

    Other rows do not change, so that a row decays as often as it occurs, and no step works on a whole table. The state
    is V floats; Adam's would be 2 V D. The method is that of DLRM (Naumov et al. 2019) and FBGEMM.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        eps: float = 1e-10,
        initial_accumulator_value: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """params: tables [V, D] of float32 or float64 with sparse gradients (`nn.Embedding(sparse=True)`)."""
        defaults = {
            "lr": lr,
            "eps": eps,
            "initial_accumulator_value": initial_accumulator_value,
            "weight_decay": weight_decay,
        }
        for name, value in defaults.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and 0 or more, got {value}")
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for table in group["params"]:
            check_table(table)
            start = group["initial_accumulator_value"]
            self.state[table]["sum"] = table.new_full((len(table),), start)  # [V]

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    shrink = group["lr"] * group["weight_decay"]
                    update_rows(table, table.grad, self.state[table]["sum"], group["lr"], group["eps"], shrink)
        return loss


def update_rows(table: Tensor, grad: Tensor, sums: Tensor, lr: float, eps: float, shrink: float = 0.0) -> None:
    """One step on a table [V, D] with its sparse gradient; changes the table and its sums [V] in place.

    shrink: the share of itself that a row loses if its gradient is not 0.
    """
    if grad.layout != torch.sparse_coo or grad.sparse_dim() != 1:
        raise ValueError(f"the gradient must be sparse (nn.Embedding(sparse=True)), got {grad.layout}")
    rows, values = summed_rows(grad)  # [R], [R, D]
    squares = torch.linalg.vector_norm(values, dim=1).square_().div_(values.shape[1])  # [R]
    sums.scatter_add_(0, rows, squares)
    values.mul_((-lr / sums[rows].sqrt_().add_(eps))[:, None])
    if shrink:
        values.sub_(table[rows] * (shrink * (squares > 0))[:, None])
    table.scatter_add_(0, rows[:, None].expand_as(values), values)  # three times as fast as index_add_


def summed_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows [R] of a sparse gradient [V, D] and their sums [R, D]; 1.5 times as fast as coalesce().

    Where reading a value makes the host wait, R is N: row 0, with a sum of 0, stands in the places that are left over.
    """
    ids, order = grad._indices()[0].sort(stable=True)  # [N]
    if devices.is_asynchronous(ids.device):
        return _summed_rows_of_fixed_shape(ids, order, grad._values())
    rows, counts = ids.unique_consecutive(return_counts=True)  # [R]
    return rows, F.embedding_bag(order, grad._values(), counts.cumsum(0) - counts, mode="sum")


def _summed_rows_of_fixed_shape(ids: Tensor, order: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What `summed_rows` returns, R being N. ids [N] ascend; value `order[n]` of the values [N, D] is of id n."""
    count = len(ids)
    groups = torch.zeros_like(ids)  # [N], the place of each id among the distinct ones
    groups[1:] = (ids[1:] != ids[:-1]).cumsum(0)
    rows = torch.zeros_like(ids).scatter_(0, groups, ids)  # [N]
    first = torch.full_like(ids, count).scatter_reduce_(0, groups, torch.arange(count, device=ids.device), "amin")
    return rows, F.embedding_bag(order, values, first, mode="sum")


def check_table(table: Tensor) -> None:
    # the sums have the table's type; in half precision, adding a small square would not change them
    if table.dim() != 2 or table.dtype not in (torch.float32, torch.float64):
        got = f"{list(table.shape)} {table.dtype}"
        raise ValueError(f"a table must be [V, D] of float32 or float64, got {got}")
