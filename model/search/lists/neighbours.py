"""Neighbours of the items that a user clicked last, as a recall channel."""

# Axes: N users, W items of one user, C clicks of all users, P pairs of a click and a neighbour, E neighbours of items.
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.features.ragged import Ragged, cut, ranges, rows_of
from model.vocabulary import NO_ITEM

PAIRS_AT_ONCE = 1 << 17  # pairs of a click and a neighbour in memory at once: about 15 MB


@dataclass(frozen=True)
class ItemNeighbours:
    """The neighbours of each item: row i of `items` has those of the item with index i; similarities float32 [E].

    clicks: how many last clicks of a user are asked for neighbours. decay: the weight of a click relative to the next.
    """

    items: Ragged  # flat int32 [E], to save memory: 8 bytes a neighbour with its similarity
    similarities: np.ndarray
    clicks: int
    decay: float

    def best(self, history: Ragged, excluded: Ragged, width: int) -> np.ndarray:
        """The W best items of each user, int64 [N, W], best first, equal ones by item index; rows end with -1.

        An item's worth is the sum of its similarities to the user's last clicks, each weighted by `decay` to the number
        of later clicks. history: the items that each user clicked, oldest first. Excluded items are left out.
        """
        n_users = len(history.offsets) - 1
        longest = self.clicks * int(np.diff(self.items.offsets).max(initial=0))
        blocks = np.array_split(np.arange(n_users), max(1, -(-n_users * longest // PAIRS_AT_ONCE)))
        parts = [self._best(rows_of(history, rows), rows_of(excluded, rows), width) for rows in blocks]
        return np.concatenate(parts)

    def _best(self, history: Ragged, excluded: Ragged, width: int) -> np.ndarray:
        """The same for one block of users."""
        n_users = len(history.offsets) - 1
        users, named, parts = self._pairs(history)  # [P] each
        stride = int(self.items.flat.max(initial=0)) + 1
        keys, numbers = np.unique(users * stride + named, return_inverse=True)  # ascending by user, then by item
        worth = np.bincount(numbers, parts, minlength=len(keys)).astype(np.float64)  # of nothing it is whole numbers
        excluding, left_out = cut(excluded, 0, n_users)
        excluded_keys = (excluding * stride + left_out)[left_out < stride]
        places = np.searchsorted(keys, excluded_keys)
        within = places < len(keys)
        places, excluded_keys = places[within], excluded_keys[within]
        worth[places[keys[places] == excluded_keys]] = -np.inf
        users, items = np.divmod(keys, stride)
        columns = np.arange(len(keys)) - np.searchsorted(users, users)
        shape = n_users, max(width, int(columns.max(initial=0)) + 1)
        worths, found = np.full(shape, -np.inf), np.full(shape, NO_ITEM, dtype=np.int64)
        worths[users, columns], found[users, columns] = worth, np.where(np.isneginf(worth), NO_ITEM, items)
        best = np.argsort(-worths, axis=1, kind="stable")[:, :width]
        return np.take_along_axis(found, best, axis=1)

    def _pairs(self, history: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each pair of a last click and a neighbour: the user's row, the neighbour, its part of the worth, [P]."""
        users, clicked, weights = self._last_clicks(history)
        starts = self.items.offsets[clicked]
        lengths = self.items.offsets[clicked + 1] - starts
        of_click = np.repeat(np.arange(len(clicked)), lengths)
        entries = ranges(starts, lengths)
        return users[of_click], self.items.flat[entries], weights[of_click] * self.similarities[entries]

    def _last_clicks(self, history: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each user's last clicks on items with neighbours: the user's row, the item, and its weight, [C] each."""
        users, clicked = cut(history, 0, len(history.offsets) - 1)
        later = history.offsets[users + 1] - history.offsets[0] - 1 - np.arange(len(clicked))
        last = (later < self.clicks) & (clicked < len(self.items.offsets) - 1)
        return users[last], clicked[last], np.power(self.decay, later[last])


def item_neighbours(rows: pa.Table, clicks: int, decay: float) -> ItemNeighbours:
    """From rows (item_index, neighbours) of the table item_neighbours."""
    rows = rows.sort_by("item_index")
    indices, lists = rows["item_index"].to_numpy(), rows["neighbours"].combine_chunks()
    lengths = np.zeros(int(indices.max(initial=0)) + 1, dtype=np.int64)  # by item index
    lengths[indices] = np.diff(lists.offsets.to_numpy())
    items, similarities = (lists.flatten().field(name).to_numpy() for name in ("item_index", "similarity"))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return ItemNeighbours(Ragged(items, offsets), similarities, clicks, decay)
