"""The processes (ranks) that train one model together, and the collective operations between them.

Axes: R ranks, B rows of one of them, C columns, V rows of a table, D embedding size, T tables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.training.optimizers import summed_rows


@dataclass(frozen=True)
class Ranks:
    """This process is rank `rank` of `size`. With one rank, every operation returns its input.

    Each rank computes its part of the mean loss; the loss of a step is the sum of these parts. Gradients are therefore
    summed over the ranks, not averaged.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """The ranks that torchrun or Spark's TorchDistributor started (from the environment); otherwise one rank."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Wait for the other ranks, then end the process group. A rank that left early would make the others fail."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's part of a sequence of `count` elements that every rank holds."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def counts(self, count: int, device: torch.device) -> list[int]:
        """The `count` that each rank passes: [R]."""
        if self.size == 1:
            return [count]
        gathered = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        dist.all_gather(gathered, torch.tensor([count], device=device))
        return [int(number) for number in gathered]

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Each rank's rows [B, ...] -> all rows [sum of B, ...], in rank order; gradients are summed over the ranks.

        counts [R]: the B of each rank.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _GatherRows.apply(rows.contiguous(), list(counts), self.rank)
        return gathered

    def gather_columns(self, fresh: Tensor, counts: Sequence[int], draws: int) -> Tensor:
        """Each rank's positives followed by its share of the draws -> all positives followed by all draws: [C, D].

        counts [R]: the positives of each rank; draws: the number of all draws.
        """
        if self.size == 1:
            return fresh
        shares = [replace(self, rank=rank).share(draws) for rank in range(self.size)]
        held = [count + share.stop - share.start for count, share in zip(counts, shares, strict=True)]
        parts = self.gather(fresh, held).split(held)
        positives = [part[:count] for part, count in zip(parts, counts, strict=True)]
        return torch.cat([*positives, *(part[count:] for part, count in zip(parts, counts, strict=True))])

    def total(self, value: Tensor) -> Tensor:
        """The sum over the ranks, without gradient."""
        summed = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(summed)
        return summed

    def broadcast(self, value: float) -> float:
        """The value of rank zero, on every rank."""
        if self.size == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        sent = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(sent, 0)
        return float(sent)

    def sum_gradients(self, tables: Sequence[Tensor], dense: Sequence[Tensor]) -> None:
        """Replace each gradient by its sum over the ranks; the gradients of `tables` [V, D] are and remain sparse."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in dense]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]) if gradients else torch.zeros(0)
        pending = dist.all_reduce(flat, async_op=True) if gradients else None
        self._sum_sparse(tables)
        if pending is not None:
            pending.wait()
        for tensor, part in zip(dense, flat.split([tensor.numel() for tensor in dense]), strict=True):
            tensor.grad = part.view_as(tensor)

    def _sum_sparse(self, tables: Sequence[Tensor]) -> None:
        """Sum the sparse gradients; all tables are sent in one message, because each message costs a round trip."""
        if not tables:
            return
        mine = [summed_rows(_empty_like(table) if table.grad is None else table.grad) for table in tables]
        sizes = torch.tensor([[len(rows) for rows, _ in mine]], device=tables[0].device)  # [1, T]
        lengths = _gathered(sizes, [1] * self.size)  # [R, T]
        widths = torch.tensor([table.shape[1] for table in tables], device=lengths.device)  # [T]
        rows = _by_table([rows for rows, _ in mine], lengths)
        values = _by_table([values.reshape(-1) for _, values in mine], lengths * widths)
        for table, indices, flat in zip(tables, rows, values, strict=True):
            with torch.sparse.check_sparse_tensor_invariants(False):  # explicit, else torch warns on every rank
                table.grad = torch.sparse_coo_tensor(indices[None], flat.view(-1, table.shape[1]), table.shape)


ALONE = Ranks()


def _empty_like(table: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(
        torch.empty((1, 0), dtype=torch.int64, device=table.device), table.new_empty((0, table.shape[1])), table.shape
    )


def _gathered(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """All ranks' rows. all_gather requires equal shapes, so shorter tensors are padded, and cut afterwards."""
    longest = max(counts)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def _by_table(mine: list[Tensor], lengths: Tensor) -> list[Tensor]:
    """This rank's part of each of T tables -> all ranks' parts of each table; lengths [R, T]: of the parts."""
    joined = _gathered(torch.cat(mine), lengths.sum(dim=1).tolist())
    parts = joined.split(lengths.reshape(-1).tolist())
    return [torch.cat(parts[table :: len(mine)]) for table in range(len(mine))]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], rank: int) -> Tensor:
        ctx.start, ctx.rows = sum(counts[:rank]), counts[rank]
        return _gathered(rows, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)  # every rank's loss depends on these rows
        return grad[ctx.start : ctx.start + ctx.rows], None, None
