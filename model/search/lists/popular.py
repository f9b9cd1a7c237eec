"""Popular items by user segment."""

# Axes: N users, P items of all segments, W items of one user.
from __future__ import annotations

import numpy as np

from model.vocabulary import NO_ITEM

ALL_USERS = 0  # the segment that holds the popular items of all users together


class PopularItems:
    """The items of each segment, most clicked first."""

    def __init__(self, segments: np.ndarray, items: np.ndarray, shares: np.ndarray) -> None:
        """segments, items and shares [P]: a segment's best item first; a share is of the segment's clicks.

        Raises ValueError if segment 0, that of all users, is missing.
        """
        order = np.argsort(segments, kind="stable")
        known, starts = np.unique(segments[order], return_index=True)
        parts = zip(known.tolist(), np.split(order, starts[1:]), strict=False)
        self.lists = {segment: (items[part], shares[part]) for segment, part in parts}
        self.longest = max((len(segment_items) for segment_items, _ in self.lists.values()), default=0)
        if ALL_USERS not in self.lists:
            raise ValueError(f"popular items must have a list for segment {ALL_USERS}, got {known[:5].tolist()}")

    def top(self, segments: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Items int64 [N, W] and shares float32 [N, W] of each user's segment [N].

        Shorter rows end with -1 and -inf; a segment without clicks has no items.
        """
        known, inverse = np.unique(segments, return_inverse=True)
        items = np.full((len(known), width), NO_ITEM, dtype=np.int64)
        shares = np.full((len(known), width), -np.inf, dtype=np.float32)
        for row, segment in enumerate(known.tolist()):
            if segment in self.lists:
                best, share = (array[:width] for array in self.lists[segment])
                items[row, : len(best)], shares[row, : len(best)] = best, share
        return items[inverse], shares[inverse]

    def top_of_all_users(self, n_rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The items and shares of all users together, repeated for `n_rows` rows: [N, W] each."""
        return self.top(np.full(n_rows, ALL_USERS, dtype=np.int64), width)
