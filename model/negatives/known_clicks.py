"""The items that the users of a batch clicked in its other rows, and in the steps whose columns the bank holds.

Axes: A rows of this rank, B rows of all ranks, P stored pairs of a user and an item, L items per user.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.data import devices
from model.vocabulary import NO_ITEM, PADDING

MAX_ITEMS = 128  # per user, so that a user with all rows of a batch does not cause a mask of [B, B]


class KnownClicks:
    """Stores the newest `capacity` pairs (user, item) of past steps; the bank has the same capacity."""

    def __init__(self, capacity: int, device: torch.device | None = None) -> None:
        self.capacity = capacity
        self.users = torch.empty(0, dtype=torch.int64, device=device)  # [P], newest first
        self.items = self.users.clone()  # [P]

    def clicked_by(self, row_users: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The clicked items of each row's user, [A, L], padded with NO_ITEM; they include the row's own item.

        row_users [A]; users [B] and items [B] of the batch. L is at most `MAX_ITEMS`: items of this batch first, then
        the newest of past steps.
        """
        all_users, all_items = torch.cat([users, self.users]), torch.cat([items, self.items])  # [B + P]
        sorted_users, order = all_users.sort(stable=True)  # [B + P], the pairs of a user keep their order
        first = torch.searchsorted(sorted_users, row_users)  # [A]
        end = torch.searchsorted(sorted_users, row_users, right=True)  # [A]
        length = MAX_ITEMS  # L
        if not devices.is_asynchronous(users.device):
            length = min(int((end - first).max()), MAX_ITEMS) if len(row_users) else 0
        positions = first[:, None] + torch.arange(length, device=users.device)  # [A, L]
        clicked = all_items[order[positions.clamp(max=len(order) - 1)]]  # [A, L]
        return torch.where(positions < end[:, None], clicked, NO_ITEM)

    def excluded(
        self, mask: str, row_users: Tensor | None, history: Tensor | None, users: Tensor | None, items: Tensor
    ) -> Tensor | None:
        """Items [A, L], besides its own, that are no negatives of a row, padded with NO_ITEM; None for mask `item`.

        mask: `negatives.mask`; history [A, H], padded with 0; the others as in `clicked_by`. Raises ValueError if an
        input that the mask needs is None.
        """
        if mask == "item":
            return None
        if row_users is None or users is None:
            raise ValueError(f"negatives.mask {mask} needs the users of the rows, got None")
        parts = [self.clicked_by(row_users, users, items)]
        if mask == "history":
            if history is None:
                raise ValueError("negatives.mask history needs a user feature named history, got None")
            parts.append(padding_to_no_item(history))
        return torch.cat(parts, dim=1)

    def push(self, users: Tensor, items: Tensor) -> None:
        """Store the users [B] and items [B] of a step."""
        self.users = torch.cat([users, self.users])[: self.capacity]
        self.items = torch.cat([items, self.items])[: self.capacity]

    def state_dict(self) -> dict[str, Any]:
        return {"users": self.users.clone(), "items": self.items.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.users, self.items = state["users"].to(self.users), state["items"].to(self.items)


def padding_to_no_item(indices: Tensor) -> Tensor:
    """Item indices as the loss expects them: NO_ITEM instead of PADDING."""
    return torch.where(indices == PADDING, NO_ITEM, indices)
