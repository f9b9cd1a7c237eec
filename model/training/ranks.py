"""Processes that train one model together: what one of them knows of the others.

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
    """This process is number `rank` of `size`; alone it keeps what it has.

    A step's loss is a sum over the ranks, each giving its own rows' part of the mean. So gradients are summed too.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Those that torchrun or Spark's TorchDistributor has started, by their environment; else this one alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Wait for the others, then end the group: without it a rank that is still at work would be cut off."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of `count` things that all ranks know this one works on."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def counts(self, count: int, device: torch.device) -> list[int]:
        """[R]: what each rank has."""
        if self.size == 1:
            return [count]
        found = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        dist.all_gather(found, torch.tensor([count], device=device))
        return [int(number) for number in found]

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """[B, ...] of each -> [sum of B, ...] in the order of the ranks; the gradient that comes back is summed."""
        if self.size == 1:
            return rows
        gathered: Tensor = _GatherRows.apply(rows.contiguous(), list(counts), self.rank)
        return gathered

    def gather_columns(self, fresh: Tensor, counts: Sequence[int], draws: int) -> Tensor:
        """Each rank's positives and its share of `draws` -> all positives, then all draws: [C, D]."""
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
        """Give each parameter the sum of the ranks' gradients; those of tables [V, D] are sparse, and stay so."""
        if self.size == 1:
            return
        given = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in dense]
        flat = torch.cat([gradient.reshape(-1) for gradient in given]) if given else torch.zeros(0)
        under_way = dist.all_reduce(flat, async_op=True) if given else None
        self._sum_sparse(tables)
        if under_way is not None:
            under_way.wait()
        for tensor, part in zip(dense, flat.split([tensor.numel() for tensor in dense]), strict=True):
            tensor.grad = part.view_as(tensor)

    def _sum_sparse(self, tables: Sequence[Tensor]) -> None:
        """Each gradient becomes the rows that any rank has; all tables travel as one, since each message is a wait."""
        if not tables:
            return
        mine = [summed_rows(_empty_like(table) if table.grad is None else table.grad) for table in tables]
        sizes = torch.tensor([[len(rows) for rows, _ in mine]], device=tables[0].device)  # [1, T]
        held = _gathered(sizes, [1] * self.size)  # [R, T]
        widths = torch.tensor([table.shape[1] for table in tables], device=held.device)  # [T]
        rows = _by_table([rows for rows, _ in mine], held)
        values = _by_table([values.reshape(-1) for _, values in mine], held * widths)
        for table, of_ranks, flat in zip(tables, rows, values, strict=True):
            with torch.sparse.check_sparse_tensor_invariants(False):  # said aloud, else every rank is warned of it
                table.grad = torch.sparse_coo_tensor(of_ranks[None], flat.view(-1, table.shape[1]), table.shape)


ALONE = Ranks()


def _empty_like(table: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(
        torch.empty((1, 0), dtype=torch.int64, device=table.device), table.new_empty((0, table.shape[1])), table.shape
    )


def _gathered(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """all_gather wants equal shapes: the shorter ones are filled up, and cut again."""
    longest = max(counts)
    filled = rows.new_zeros((longest, *rows.shape[1:]))
    filled[: len(rows)] = rows
    parts = [torch.empty_like(filled) for _ in counts]
    dist.all_gather(parts, filled)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def _by_table(mine: list[Tensor], held: Tensor) -> list[Tensor]:
    """A part for each of T tables -> those of all ranks; held [R, T]: how long each part is."""
    joined = _gathered(torch.cat(mine), held.sum(dim=1).tolist())
    parts = joined.split(held.reshape(-1).tolist())
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
        dist.all_reduce(grad)  # every rank used these rows as columns
        return grad[ctx.start : ctx.start + ctx.rows], None, None
