"""Built-in sources of negatives that draw from fixed probabilities. Axes: C columns, I indices of the vocabulary."""

from __future__ import annotations

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
