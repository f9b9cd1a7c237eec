"""Rows of all processes, gathered so that the gradient finds its way back.

Axes: W processes, B rows of one of them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        ctx.rows = len(rows)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)  # every process used these rows as columns
        start = dist.get_rank() * ctx.rows
        return grad[start : start + ctx.rows]


def gather_rows(rows: Tensor) -> Tensor:
    """[B, ...] on each of W processes -> [W * B, ...] on all of them, in the order of their ranks.

    The gradient that comes back is the sum over the processes. Where each process takes the mean loss of its
    own rows, and gradients are then averaged over processes as DistributedDataParallel does, the result is
    the gradient of the joined batch. Without a process group the rows come back as they are.
    Raises ValueError on every process where they do not hold equally many rows.
    """
    if not dist.is_available() or not dist.is_initialized():
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    held = [int(count) for count in counts]
    if len(set(held)) > 1:
        raise ValueError(f"every process must hold equally many rows, got {held}")
    gathered: Tensor = _GatherRows.apply(rows.contiguous())
    return gathered
