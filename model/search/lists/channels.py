"""Merges the items of recall channels into one list per user, with a quota for each channel.

Channels are merged in order. Each contributes its best items that no earlier channel has contributed: at most its
quota, and no more items of a category than the cap allows. A later channel of the same source can fill the
remaining ranks.
"""

# Axes: N users, K candidates, W items of a channel, P fresh items of all users, I item indices.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.features.ragged import among
from model.search.top_k import empty_results
from model.vocabulary import NO_ITEM

Merged = tuple[np.ndarray, np.ndarray, np.ndarray]  # items int64 [N, K], scores float32 [N, K], sources int64 [N, K]


@dataclass(frozen=True)
class Channel:
    """The items of a channel: int64 [N, W], best first, -1 for none, and their scores float32 [N, W].

    source: the number of the channel's name. quota: the most items to take, None for any number.
    capped: whether the cap on categories applies.
    """

    source: int
    items: np.ndarray
    scores: np.ndarray
    quota: int | None = None
    capped: bool = True


@dataclass(frozen=True)
class Cap:
    """At most `max_items` items of a list may have the same category. categories int64 [I]: of each item, from 0."""

    categories: np.ndarray
    max_items: int


def merge_channels(channels: Sequence[Channel], k: int, cap: Cap | None = None) -> Merged:
    """Items, scores and sources [N, K] of each user's list, best score first, equal scores by item index.

    Shorter rows end with item -1 and score -inf.
    """
    n_users = len(channels[0].items)
    found, scores = empty_results(n_users, k)
    sources = np.zeros((n_users, k), dtype=np.int64)
    lengths = np.zeros(n_users, dtype=np.int64)  # [N]
    for channel in channels:
        fresh = (channel.items != NO_ITEM) & ~among(channel.items, found)  # [N, W]
        if cap is not None and channel.capped:
            fresh &= _below_cap(channel.items, fresh, found, cap)
        order = np.cumsum(fresh, axis=1)  # [N, W], from 1
        room = np.minimum(k - lengths, k if channel.quota is None else channel.quota)  # [N]
        rows, columns = np.nonzero(fresh & (order <= room[:, None]))
        slots = lengths[rows] + order[rows, columns] - 1
        found[rows, slots] = channel.items[rows, columns]
        scores[rows, slots] = channel.scores[rows, columns]
        sources[rows, slots] = channel.source
        lengths += np.bincount(rows, minlength=n_users)
    ranked = np.lexsort((found, -scores), axis=-1)  # [N, K]; empty slots come last
    return tuple(np.take_along_axis(array, ranked, axis=1) for array in (found, scores, sources))  # type: ignore[return-value]


def _below_cap(items: np.ndarray, fresh: np.ndarray, found: np.ndarray, cap: Cap) -> np.ndarray:
    """Which fresh items fit under the cap, given the items found so far [N, K]: bool [N, W]."""
    n_categories = int(cap.categories.max(initial=0)) + 1
    rows, columns = np.nonzero(fresh)  # ascending, so a row's best items come first
    groups = rows * n_categories + cap.categories[items[rows, columns]]  # [P]
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], groups[order])
    earlier = np.empty(len(groups), dtype=np.int64)  # [P]: items of the same group before this one
    earlier[order] = np.arange(len(groups)) - starts
    found_rows, slots = np.nonzero(found != NO_ITEM)
    taken = np.sort(found_rows * n_categories + cap.categories[found[found_rows, slots]])
    earlier += np.searchsorted(taken, groups, side="right") - np.searchsorted(taken, groups)
    below = np.zeros(items.shape, dtype=bool)
    below[rows, columns] = earlier < cap.max_items
    return below
