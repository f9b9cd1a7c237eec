"""Cross-batch negatives: stored columns of past steps, and how often each item is expected among them.

Axes: C columns, D embedding size, M stored columns, N columns of one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.bank import CrossBatchBank
from model.negatives.bank_warmup import BankWarmup


class BankColumns:
    """A bank of item vectors that is used once it has warmed up."""

    def __init__(
        self,
        capacity: int,
        dim: int,
        warmup: BankWarmup,
        probability: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        """probability: items [C] -> r [C] float64, the probability that a stored column is the item.

        r comes from `Mixture.bank_probability`.
        """
        self.warmup, self.probability, self.device = warmup, probability, device
        self.capacity, self.dim = capacity, dim
        self.clear()

    def clear(self) -> None:
        """Delete all stored columns."""
        self.stored = CrossBatchBank(self.capacity, self.dim, device=self.device)

    def columns(self, step: int, embed: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor] | None:
        """Vectors [M, D] and item indices [M]; None before the bank has warmed up. embed: the item tower."""
        if not self.warmup.is_warm(self.stored, step, embed):
            return None
        embeddings, ids, _ = self.stored.columns()
        return embeddings, ids

    def expected_count(self, ids: Tensor, columns: int) -> Tensor:
        """How often items [C] are expected among `columns` stored columns: [C] float64."""
        return columns * self.probability(ids)

    def push(self, embeddings: Tensor, ids: Tensor, step: int, generator: torch.Generator) -> None:
        """Store the columns [N, D] and item indices [N] of a step."""
        # in random order, so that every source loses the same share if N is above the capacity
        order = torch.randperm(len(ids), generator=generator, device=generator.device).to(self.device)
        self.stored.push(embeddings[order].detach(), ids[order], step)

    def state_dict(self) -> dict[str, Any]:
        return {"stored": self.stored.state_dict(), "warmup": self.warmup.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stored.load_state_dict(state["stored"])
        self.warmup.load_state_dict(state["warmup"])
