"""What the rows' users clicked in other rows of the batch, and in the steps that the bank remembers.

Axes: A users asked for, B rows, P remembered pairs of a user and an item, L items known of a row's user.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.vocabulary import NO_ITEM, PADDING

MOST = 128  # items of one user: one who fills a batch must not make a mask of B x B


class KnownClicks:
    """Remembers the newest `capacity` pairs (user, item) of past steps, beside a bank of as many columns."""

    def __init__(self, capacity: int, device: torch.device | None = None) -> None:
        self.capacity = capacity
        self.users = torch.empty(0, dtype=torch.int64, device=device)  # [P], newest first
        self.items = self.users.clone()  # [P]

    def of(self, asked: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The items of each asked user [A, L], -1 where one has fewer: this batch's first, then the newest.

        asked [A]; users [B] and items [B] of the batch. A row's own item is among them. Of more than `MOST` the first
        are taken.
        """
        all_users, all_items = torch.cat([users, self.users]), torch.cat([items, self.items])  # [B + P]
        ordered, order = all_users.sort(stable=True)  # [B + P], each user's pairs together, in their order
        first = torch.searchsorted(ordered, asked)  # [A]
        last = torch.searchsorted(ordered, asked, right=True)  # [A]
        length = min(int((last - first).max()), MOST) if len(asked) else 0  # L
        places = first[:, None] + torch.arange(length, device=users.device)  # [A, L]
        found = all_items[order[places.clamp(max=len(order) - 1)]]  # [A, L]
        return torch.where(places < last[:, None], found, NO_ITEM)

    def excluded(
        self, level: str, asked: Tensor | None, history: Tensor | None, users: Tensor | None, items: Tensor
    ) -> Tensor | None:
        """Items [A, L] that are no negatives of a row though they are not its own, by `negatives.mask`; -1 is padding.

        history [A, H]: the rows' own, 0 is padding. Raises ValueError where what the level goes by is missing.
        """
        if level == "item":
            return None
        if asked is None or users is None:
            raise ValueError(f"negatives.mask {level} wants to know whose the rows are, got no users")
        parts = [self.of(asked, users, items)]
        if level == "history":
            if history is None:
                raise ValueError("negatives.mask history wants a user feature named history, got none")
            parts.append(padded(history))
        return torch.cat(parts, dim=1)

    def push(self, users: Tensor, items: Tensor) -> None:
        """Remember a step's pairs, [B] each."""
        self.users = torch.cat([users, self.users])[: self.capacity]
        self.items = torch.cat([items, self.items])[: self.capacity]

    def state_dict(self) -> dict[str, Any]:
        return {"users": self.users.clone(), "items": self.items.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.users, self.items = state["users"].to(self.users), state["items"].to(self.items)


def padded(indices: Tensor) -> Tensor:
    """Item indices with the loss's padding in place of the towers'."""
    return torch.where(indices == PADDING, NO_ITEM, indices)
