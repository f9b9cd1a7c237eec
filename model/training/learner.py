"""A model in training: its towers, loss and optimisers, whose state is saved and restored together.

Axis letters: B rows, D embedding size, N items to embed, R ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from model.towers import TwoTowers
from model.training.loop import Batch, Progress
from model.training.optimizers import RowWiseAdagrad
from model.training.processes.ranks import Ranks
from model.training.spec import RunSpec
from model.training.step_loss import StepLoss

EMBEDDED_AT_ONCE = 8_192  # items


class Learner:
    """Everything that training changes. It is equal on all ranks, except for the generator of the id dropout."""

    def __init__(self, run: RunSpec, step_loss: StepLoss, device: torch.device, ranks: Ranks) -> None:
        self.device, self.ranks, self.step_loss = device, ranks, step_loss
        self.towers, self.objective = step_loss.towers, step_loss.objective
        self.autocast = run.precision == "bfloat16"
        self.tables = RowWiseAdagrad(
            self.towers.tables(), lr=run.learning_rate, weight_decay=run.embedding_weight_decay
        )
        self.dense = torch.optim.AdamW(
            [
                {"params": self.towers.dense(), "weight_decay": run.weight_decay},
                {"params": self.objective.parameters(), "weight_decay": 0.0},
            ],
            lr=run.dense_learning_rate,
        )

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.tables, self.dense]

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one step, 0-dim; see `StepLoss`."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.step_loss(batch)

    def sum_gradients(self) -> None:
        """Replace each gradient by its sum over the ranks. Call it between the backward pass and the optimisers."""
        self.ranks.sum_gradients(self.towers.tables(), [*self.towers.dense(), *self.objective.parameters()])

    @torch.no_grad()
    def item_vectors(self, items: Tensor, *, by_features: bool = False) -> Tensor:
        """Item indices [N] -> vectors [N, D], without dropout; by_features: as if the ids were out of vocabulary."""
        parts = items.split(EMBEDDED_AT_ONCE)
        return torch.cat([self.step_loss.embed_all(part, by_features=by_features) for part in parts])

    def is_finite(self) -> bool:
        return all(bool(weights.isfinite().all()) for weights in self.towers.parameters())

    def state_dict(self, progress: Progress) -> dict[str, Any]:
        """All state that a resumed run needs to end like an uninterrupted one. Every rank must call this together."""
        generator = self.step_loss.generator.get_state().to(self.device)
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
        """Restore what `state_dict` returned, and return its progress."""
        for name, weights in self.towers.named_parameters():
            weights.copy_(state["weights"][name])
        self.tables.load_state_dict(state["tables"])
        self.dense.load_state_dict(state["dense"])
        self.objective.load_state_dict(state["objective"])
        generator = state["generators"][self.ranks.rank].clone()  # set_state does not accept a view
        if len(generator) != len(self.step_loss.generator.get_state()):
            raise ValueError(
                f"the checkpoint must be of a run on {self.device.type}, got one of another kind of device; "
                "continue there, or delete the checkpoint to start again"
            )
        self.step_loss.generator.set_state(generator)
        return Progress(**state["progress"])


def standardise(towers: TwoTowers, stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Set each numeric feature's mean and standard deviation, as counted on the training rows.

    Raises ValueError unless each number of a feature has a finite mean and a finite deviation above 0.
    """
    for side, tower in (("user", towers.user), ("item", towers.item)):
        for feature in tower.features:
            if feature.holds_numbers:
                mean, std = (torch.tensor(numbers) for numbers in stats[side].get(feature.name, ([], [])))  # [L] each
                fits = mean.shape == std.shape == (feature.length,)
                if not fits or not bool((mean.isfinite() & std.isfinite() & (std > 0)).all()):
                    raise ValueError(
                        f"{side} feature {feature.name} must have {feature.length} finite means and deviations "
                        f"above 0, got {mean.tolist()} and {std.tolist()}"
                    )
                tower.embedding(feature.name).get_buffer("mean").copy_(mean)
                tower.embedding(feature.name).get_buffer("std").copy_(std)
