"""The held-out clicks of a run, as its towers and as popularity rank them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from model.training.inputs import TrainingInputs
from model.training.learner import Learner
from model.training.loop import Batch
from model.training.validation.clicks import RankedClicks
from model.training.validation.ranking import ranked_clicks


class HeldOutClicks:
    """Ranks batches of held-out clicks among the available items, together with the other ranks."""

    def __init__(self, learner: Learner, inputs: TrainingInputs) -> None:
        self.learner, self.inputs = learner, inputs

    def ranked_by_towers(self, batches: Iterable[Batch]) -> RankedClicks:
        items = self.inputs.available_items
        return self._ranked(batches, self.learner.towers.user, self.learner.item_vectors(items), items)

    def ranked_by_popularity(self, batches: Iterable[Batch]) -> RankedClicks:
        """Ranked by each item's share of the rows of the epochs."""
        items = self.inputs.available_items
        shares = self.inputs.sampling_probs(self.inputs.data.share_column).q[items]  # [available items]
        return self._ranked(batches, lambda batch: shares.new_ones(len(batch["item_index"]), 1), shares[:, None], items)

    def _ranked(
        self,
        batches: Iterable[Batch],
        embed: Callable[[Batch], torch.Tensor],
        vectors: torch.Tensor,
        items: torch.Tensor,
    ) -> RankedClicks:
        return ranked_clicks(
            embed,
            batches,
            vectors,
            items,
            self.inputs.device,
            hide_history=self.inputs.data.hide_history,
            ranks=self.learner.ranks,
        )
