"""A source of negatives from outside the package, named in a configuration as "tests.extensions.my_source:RecentClicks"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from model.negatives.sources import NegativeSource, Probabilities


class RecentClicks(NegativeSource):
    """Draws uniformly from the last `window` clicks; before the first step from the items of the catalogue."""

    def __init__(self, draws: int, probabilities: Probabilities, window: int = 1_000) -> None:
        super().__init__(draws, probabilities)
        self.window, self.steps = window, 0
        self.clicks = probabilities.u.nonzero()[:, 0]  # [W] item indices, newest first

    def draw(self, generator: Generator) -> Tensor:
        device = generator.device
        positions = torch.randint(len(self.clicks), (self.draws,), generator=generator, device=device)  # [draws]
        return self.clicks[positions]

    def expected_count(self, ids: Tensor) -> Tensor:
        clicks = torch.bincount(self.clicks, minlength=len(self.probabilities.u))  # [I]
        return self.draws * clicks[ids].double() / len(self.clicks)

    def after_step(self, positives: Tensor) -> None:
        self.steps += 1
        self.clicks = torch.cat([positives, self.clicks])[: self.window]

    def report(self) -> dict[str, Any]:
        return {"draws": self.steps * self.draws, "recent_items": len(self.clicks.unique())}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "clicks": self.clicks.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.clicks = state["steps"], state["clicks"].to(self.clicks)
