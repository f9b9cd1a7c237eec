"""A few steps of training, and how much of a planted rule a tower has learned."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.towers import TwoTowers
from model.training.optimizers import RowWiseAdagrad


def share_learned(
    towers: TwoTowers, inputs: dict[str, Tensor], answers: Tensor, items: int, *, steps: int, dense_rate: float
) -> float:
    """The share of users whose best item is their answer [B], after `steps` steps on all users."""
    optimizers = [RowWiseAdagrad(towers.tables(), lr=0.2), torch.optim.AdamW(towers.dense(), lr=dense_rate)]

    def scores() -> Tensor:
        users: Tensor = towers.user(inputs)
        embedded: Tensor = users @ towers.item({"item_id": torch.arange(items)}).T
        return embedded / 0.1  # [B, I]

    for _ in range(steps):
        F.cross_entropy(scores(), answers).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        return float((scores().argmax(dim=1) == answers).float().mean())
