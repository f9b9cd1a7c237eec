"""The held-out clicks of a run, as its towers and as popularity rank them, and in lists as scoring makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from model.data.parquet_files import read_files
from model.search.lists.candidate_lists import Quotas
from model.search.lists.neighbours import item_neighbours
from model.training.inputs import TrainingInputs
from model.training.learner import Learner
from model.training.loop import Batch
from model.training.validation.clicks import RankedClicks
from model.training.validation.ranking import ranked_clicks
from model.training.validation.score_counts import HeldOutLists
from model.training.validation.score_maps import COUNTS_SHAPE


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

    @torch.no_grad()
    def score_counts(self, batches: Iterable[Batch]) -> torch.Tensor | None:
        """The counts of `HeldOutLists` over the clicks of all ranks, on the CPU; None if lists have no length."""
        data, items = self.inputs.data, self.inputs.available_items
        if not data.candidates_per_user or not len(items):
            return None
        lists, counts = self._lists(items), torch.zeros(COUNTS_SHAPE, dtype=torch.float64)
        for batch in batches:
            clicked = batch["item_index"]
            history = batch.get("history", clicked.new_empty(len(clicked), 0))
            queries = self.learner.towers.user(batch).float()
            found = (tensor.cpu().numpy() for tensor in (queries, clicked, history))
            counts += torch.from_numpy(lists.counts(*found, hide_history=data.hide_history))
        return self.learner.ranks.total(counts.to(self.inputs.device)).cpu()

    def _lists(self, items: torch.Tensor) -> HeldOutLists:
        data = self.inputs.data
        shares = self.inputs.sampling_probs(data.share_column).q[items]  # [available items]
        tensors = {
            "items": items,
            "vectors": self.learner.item_vectors(items).float(),
            "shares": shares,
            "by_features": self.learner.item_vectors(items[shares == 0], by_features=True).float(),
        }
        quotas = Quotas(data.candidates_per_user, data.popular_quota, data.explore_quota, data.neighbour_quota)
        neighbours = None
        if data.item_neighbours is not None:
            rows = read_files(data.item_neighbours.files)
            neighbours = item_neighbours(rows, data.neighbour_clicks, data.neighbour_decay)
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        temperature = float(self.learner.objective.temperature.detach())
        return HeldOutLists(**arrays, quotas=quotas, temperature=temperature, neighbours=neighbours)

    def _ranked(
        self,
        batches: Iterable[Batch],
        embed: Callable[[Batch], torch.Tensor],
        vectors: torch.Tensor,
        items: torch.Tensor,
    ) -> RankedClicks:
        ranked = ranked_clicks(
            embed,
            batches,
            vectors,
            items,
            self.inputs.device,
            hide_history=self.inputs.data.hide_history,
            ranks=self.learner.ranks,
        )
        return replace(ranked, cutoffs=self.inputs.data.held_out_cutoffs)
