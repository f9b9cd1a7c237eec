"""The bank of cross-batch negatives: item-tower outputs of past steps (CBNS, Wang et al. 2021, section 3.2).

Axes: D embedding size, N rows of a push, M columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.losses.checks import check_ids, check_shape


class CrossBatchBank:
    """A ring buffer that holds the newest `capacity` embeddings with their item ids and steps.

    It stores no expected counts, because they change while an embedding is stored: the caller computes them when it
    reads the bank. A step reads the bank before it pushes, so it never reads its own columns.
    """

    def __init__(
        self,
        capacity: int,
        dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity and dim of a bank must be at least 1, got {capacity} and {dim}")
        self.capacity = capacity
        self.dim = dim
        self._embeddings = torch.zeros(capacity, dim, dtype=dtype, device=device)  # [capacity, D]
        self._ids = torch.zeros(capacity, dtype=torch.int64, device=device)  # [capacity]
        self._steps = torch.zeros(capacity, dtype=torch.int64, device=device)  # [capacity]
        self._next = 0  # the slot that is written next; once full, it holds the oldest
        self._size = 0
        self._last_step: int | None = None

    def __len__(self) -> int:
        return self._size

    @torch.no_grad()
    def push(self, embeddings: Tensor, ids: Tensor, step: int) -> None:
        """Append embeddings [N, D] and ids [N] of step `step`. If N > capacity, only the last rows are stored.

        Raises ValueError if shapes do not fit, ids are not integers, or `step` is lower than that of an earlier push.
        """
        check_shape("embeddings", embeddings, (None, self.dim))
        check_ids("ids", ids, (len(embeddings),))
        if self._last_step is not None and step < self._last_step:
            raise ValueError(f"steps of a bank must not go back, got {step} after {self._last_step}")
        self._last_step = step
        size = min(len(ids), self.capacity)
        slots = self._slots(self._next, size)  # [size]
        self._embeddings[slots] = embeddings[len(ids) - size :].to(self._embeddings)
        self._ids[slots] = ids[len(ids) - size :].to(self._ids)
        self._steps[slots] = step
        self._next = (self._next + size) % self.capacity
        self._size = min(self._size + size, self.capacity)

    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [M, D], ids [M] and the steps they were made at [M], oldest first, without gradient."""
        return self._at(torch.arange(self._size, device=self._ids.device))

    def draw(self, m: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Like `columns`, for m columns drawn without replacement, or for all columns if there are at most m.

        The generator must be on the CPU. Raises ValueError for a negative m.
        """
        if m < 0:
            raise ValueError(f"the number of columns to draw must be 0 or more, got {m}")
        if m >= self._size:
            return self.columns()
        drawn = torch.randperm(self._size, generator=generator)[:m]  # [m]
        return self._at(drawn.to(self._ids.device))

    def state_dict(self) -> dict[str, Any]:
        embeddings, ids, steps = self.columns()
        return {"embeddings": embeddings, "ids": ids, "steps": steps, "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError if its size or type does not fit this bank."""
        held, dtype = len(state["ids"]), state["embeddings"].dtype
        check_shape("embeddings of the saved bank", state["embeddings"], (held, self.dim))
        if held > self.capacity or dtype != self._embeddings.dtype:
            wanted = f"at most {self.capacity} embeddings of {self._embeddings.dtype}"
            raise ValueError(f"a saved bank must have {wanted}, got {held} of {dtype}")
        self._embeddings[:held] = state["embeddings"]
        self._ids[:held] = state["ids"]
        self._steps[:held] = state["steps"]
        self._next, self._size = held % self.capacity, held
        self._last_step = state["last_step"]

    def _at(self, ages: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Copies of the columns at `ages` [M], where 0 is the oldest.

        They are copies because a push must not change tensors that a later backward pass still needs.
        """
        slots = (ages + self._next - self._size) % self.capacity  # [M]
        return self._embeddings[slots], self._ids[slots], self._steps[slots]

    def _slots(self, first: int, count: int) -> Tensor:
        return (torch.arange(count, device=self._ids.device) + first) % self.capacity  # [count]
