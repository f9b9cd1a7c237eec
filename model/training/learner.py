"""A model under training: towers, loss and optimisers, which start, step, stop and go on together.

Axis letters: B rows, D embedding size, I items that are available, R ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from model.data.loaders import PinnedFiles, epoch_batches, item_column
from model.data.shards import shards
from model.towers import TwoTowers
from model.training.loop import Batch, Progress
from model.training.optimizers import RowWiseAdagrad
from model.training.ranks import Ranks
from model.training.spec import AVAILABLE, LAST_DAY_SHARE, Order, example_features
from model.training.step_loss import StepLoss, make_objective, sampling_probs
from model.training.validation import validate

EMBEDDED_AT_ONCE = 8_192  # items


class Learner:
    """All that a run changes, and how it reads; the same on every rank, but for whose rows it reads."""

    def __init__(self, order: Order, device: torch.device, ranks: Ranks) -> None:
        settings = order.settings
        torch.manual_seed(settings.seed)
        self.order, self.device, self.ranks = order, device, ranks
        self.towers = TwoTowers(order.spec)
        standardise(self.towers, order.numeric_stats)
        self.towers.to(device)
        if settings.compile:
            self.towers.compile_layers()
        self.objective = make_objective(order, device, ranks)
        self.loss = StepLoss(self.towers, order, self.objective, device, ranks)
        self.tables = RowWiseAdagrad(self.towers.tables(), lr=settings.learning_rate)
        self.dense = torch.optim.AdamW(
            [
                {"params": self.towers.dense(), "weight_decay": settings.weight_decay},
                {"params": self.objective.parameters(), "weight_decay": 0.0},
            ],
            lr=settings.dense_learning_rate,
        )

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.tables, self.dense]

    @cached_property
    def available(self) -> Tensor:
        """Indices of the items that may be shown [I]; the snapshot is pinned, and read for the first epoch alone."""
        size = self.order.spec.vocabulary_sizes["item_id"]
        return item_column(self.order.items, AVAILABLE, size).nonzero()[:, 0].to(self.device)

    def sum_gradients(self) -> None:
        """Between the backward pass and the optimisers, those of all ranks."""
        self.ranks.sum_gradients(self.towers.tables(), [*self.towers.dense(), *self.objective.parameters()])

    def batches(self, pinned: PinnedFiles, file_rows: list[int], epoch: int, done: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch, without the first `done`."""
        settings = self.order.settings
        shard = shards(pinned.files, file_rows, settings.batch_size, self.ranks.size)[self.ranks.rank]
        batches = epoch_batches(
            shard,
            example_features(self.order),
            seed=settings.seed + epoch,
            readers=settings.readers,
            shuffle_row_groups=settings.shuffle_row_groups,
        )
        return islice(batches, done, None)

    def turn_to_last_day(self) -> None:
        """What is learnt from now on is the last day, whose items have other shares."""
        self.objective.switch_to(sampling_probs(self.order, LAST_DAY_SHARE, self.device))

    def validation(self, pinned: PinnedFiles, file_rows: list[int]) -> dict[str, float]:
        """How well the towers find examples of the pinned files, at most `validation_rows` of them."""
        with torch.no_grad():
            parts = [self.loss.embed_all(part) for part in self.available.split(EMBEDDED_AT_ONCE)]
        return self._validated(self.towers.user, torch.cat(parts), pinned, file_rows)

    def popularity(self, pinned: PinnedFiles, file_rows: list[int]) -> dict[str, float]:
        """How well the share of each item in the rows that were learnt from finds the same examples."""
        size = self.order.spec.vocabulary_sizes["item_id"]
        shares = item_column(self.order.probabilities, self.order.share, size).to(self.device)[self.available]
        everybody = lambda batch: shares.new_ones(len(batch["item_index"]), 1)  # noqa: E731
        return self._validated(everybody, shares[:, None], pinned, file_rows)

    def _validated(
        self, embed: Callable[[Batch], Tensor], vectors: Tensor, pinned: PinnedFiles, file_rows: list[int]
    ) -> dict[str, float]:
        steps = -(-self.order.settings.validation_rows // self.order.settings.batch_size)
        return validate(
            embed,
            islice(self.batches(pinned, file_rows, 0), steps),
            vectors,
            self.available,
            self.device,
            hide_history=self.order.hide_history,
            ranks=self.ranks,
        )

    def is_finite(self) -> bool:
        return all(bool(weights.isfinite().all()) for weights in self.towers.parameters())

    def state_dict(self, progress: Progress) -> dict[str, Any]:
        """All that a run needs in order to end as if it had not stopped; every rank has to ask for it."""
        generator = self.loss.generator.get_state().to(self.device)
        counts = [len(generator)] * self.ranks.size
        return {
            "progress": asdict(progress),
            "weights": {name: weights.detach() for name, weights in self.towers.named_parameters()},
            "tables": self.tables.state_dict(),
            "dense": self.dense.state_dict(),
            "objective": self.objective.state_dict(),
            "generators": self.ranks.gather(generator, counts).reshape(self.ranks.size, -1).cpu(),  # [R, ...]
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> Progress:
        """Go on where the saved run stood; returns where that was."""
        for name, weights in self.towers.named_parameters():
            weights.copy_(state["weights"][name])
        self.tables.load_state_dict(state["tables"])
        self.dense.load_state_dict(state["dense"])
        self.objective.load_state_dict(state["objective"])
        self.loss.generator.set_state(state["generators"][self.ranks.rank].clone())  # a row of its own memory
        return Progress(**state["progress"])


def standardise(towers: TwoTowers, stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Give each numeric feature the mean and deviation that the training rows have.

    Raises ValueError unless each has as many as it has numbers, finite, and deviations above 0.
    """
    for side, tower in (("user", towers.user), ("item", towers.item)):
        for feature in tower.features:
            if feature.holds_numbers:
                mean, std = (torch.tensor(numbers) for numbers in stats[side].get(feature.name, ([], [])))  # [L] each
                fits = mean.shape == std.shape == (feature.length,)
                if not fits or not bool((mean.isfinite() & std.isfinite() & (std > 0)).all()):
                    got = f"{mean.tolist()} and {std.tolist()}"
                    raise ValueError(
                        f"{side} feature {feature.name} wants {feature.length} means and deviations, got {got}"
                    )
                tower.embedding(feature.name).get_buffer("mean").copy_(mean)
                tower.embedding(feature.name).get_buffer("std").copy_(std)
