"""In-batch negatives: the clicked items of the other rows, and how often each item is expected among them.

Axes: B rows of the batch of all ranks, C columns, I indices of the item vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.frequency import StreamingFrequency, drift_report
from model.negatives.sources import Probabilities


class InBatch:
    """Provides q, the probability that a row's clicked item is item j: counted before training, or estimated in it."""

    def __init__(self, probabilities: Probabilities, batch_size: int, estimator: StreamingFrequency | None) -> None:
        """estimator: estimates q during training, starting from the counted q; None: the counted q is used."""
        self.batch_size, self.estimator = batch_size, estimator
        self.switch_to(probabilities)

    def switch_to(self, probabilities: Probabilities) -> None:
        """From now on, the training rows have these probabilities; the estimator starts again from them."""
        self.counted = probabilities.q  # [I]
        self.seen = self.counted > 0  # [I], items of the training rows
        if self.estimator is not None:
            known = self.counted.nonzero()[:, 0]
            self.estimator.seed_from_probabilities(known, self.counted[known], self.batch_size)

    def probability(self, ids: Tensor) -> Tensor:
        """q of items [C] -> [C] float64."""
        if self.estimator is None:
            return self.counted[ids]
        estimated = self.estimator.expected_count(ids).double() / self.batch_size
        return torch.where(self.seen[ids], estimated, 0.0)  # the bucket of an unseen item says nothing of it

    def expected_count(self, ids: Tensor, rows: int) -> Tensor:
        """How often items [C] are expected among the other rows of a batch of `rows` rows: [C] float64."""
        # the only column of a batch of one row is masked, but its expected count must be above 0
        return max(rows - 1, 1) * self.probability(ids).double()

    def after_step(self, positives: Tensor) -> None:
        """Learn from the clicked items [B] of a step."""
        # the last, smaller batch of an epoch is left out: from it, all items would seem to have become rarer
        if self.estimator is not None and len(positives) >= self.batch_size:
            self.estimator.update(positives, self.estimator.step + 1)
            self.seen[positives] = True

    def report(self) -> dict[str, Any]:
        """`estimator`: the `drift_report` of the estimate, and the number of updates. Empty without an estimator."""
        if self.estimator is None:
            return {}
        ids = self.counted.nonzero()[:, 0]
        drift = drift_report(ids, self.probability(ids), self.counted[ids])
        return {"estimator": {**drift, "updates": self.estimator.step}}

    def state_dict(self) -> dict[str, Any]:
        estimator = None if self.estimator is None else self.estimator.state_dict()
        return {"estimator": estimator, "seen": self.seen.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError if exactly one of the saved and the present state has an estimator."""
        if (state["estimator"] is None) != (self.estimator is None):
            wanted, got = ("no", "one") if self.estimator is None else ("an", "none")
            raise ValueError(f"the saved state must have {wanted} estimator, got {got}")
        if self.estimator is not None:
            self.estimator.load_state_dict(state["estimator"])
        self.seen.copy_(state["seen"])
