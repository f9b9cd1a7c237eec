"""Built-in sources of negatives that draw from fixed probabilities. Axes: C columns, I indices of the vocabulary."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from model.negatives.samplers import CategoricalSampler, expected_count
from model.negatives.sources import NegativeSource, Probabilities


class CategoricalSource(NegativeSource):
    """Draws with replacement, each item with its probability."""

    def __init__(self, draws: int, probabilities: Probabilities, weights: Tensor) -> None:
        """weights: [I] float64, the probability of each item."""
        super().__init__(draws, probabilities)
        self.weights, self.sampler = weights, CategoricalSampler(weights)

    def draw(self, generator: Generator) -> Tensor:
        return self.sampler.sample(self.draws, generator)

    def expected_count(self, ids: Tensor) -> Tensor:
        return expected_count(ids, [(float(self.draws), self.weights)])


class Corpus(CategoricalSource):
    """All items of the catalogue, clicked or not (MNS, Yang et al. 2020)."""

    def __init__(self, draws: int, probabilities: Probabilities) -> None:
        super().__init__(draws, probabilities, probabilities.u)


class Unclicked(CategoricalSource):
    """The pool of items that were shown and never clicked."""

    def __init__(self, draws: int, probabilities: Probabilities) -> None:
        if not bool(probabilities.p.any()):
            raise ValueError(f"negatives.unclicked must be 0 if the unclicked pool is empty, got {draws}")
        super().__init__(draws, probabilities, probabilities.p)


class NeverClicked(NegativeSource):
    """The items of the catalogue without a training row. It draws none as long as there is no such item."""

    def __init__(self, draws: int, probabilities: Probabilities, weight: float = 1.0) -> None:
        """weight: how many of these items one of them counts as in the loss; 1: the loss estimates the full softmax."""
        super().__init__(draws, probabilities)
        if not 0 < weight < float("inf"):
            raise ValueError(f"negatives.never_clicked_weight must be finite and above 0, got {weight}")
        self.wanted, self.weight = draws, weight
        self.clicked = torch.zeros_like(probabilities.q, dtype=torch.bool)  # [I]
        self.switch_to(probabilities)

    def switch_to(self, probabilities: Probabilities) -> None:
        super().switch_to(probabilities)
        self.clicked = self.clicked | (probabilities.q > 0)  # the earlier rows were trained on too
        left = torch.where(self.clicked, 0.0, probabilities.u)  # [I]
        total = float(left.sum())
        self.draws = self.wanted if total else 0
        self.weights = left / total if total else left  # [I], the probability of each item
        self.sampler = CategoricalSampler(self.weights) if total else None

    def draw(self, generator: Generator) -> Tensor:
        if self.sampler is None:
            return torch.empty(0, dtype=torch.int64, device=self.weights.device)
        return self.sampler.sample(self.draws, generator)

    def expected_count(self, ids: Tensor) -> Tensor:
        return expected_count(ids, [(self.draws / self.weight, self.weights)])
