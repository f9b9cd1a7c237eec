"""One list a user out of several: the items that recall channels name, each channel with a quota.

Channels are asked in order. Each gives its best items that no channel before it has given, up to its quota, and no
more of a category than the cap. A later channel of the same name fills what is left.
"""

# Axes: N users, K candidates, W items that a channel names, C channels, I indices of the item vocabulary.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.ragged import among
from model.search.top_k import empty_results
from model.vocabulary import NO_ITEM


@dataclass(frozen=True)
class Channel:
    """What a channel names: items int64 [N, W], best first, -1 where there is none, and their scores float32 [N, W].

    quota: at most so many are taken; None for any number. capped: the cap on categories holds.
    """

    source: int
    items: np.ndarray
    scores: np.ndarray
    quota: int | None = None
    capped: bool = True


@dataclass(frozen=True)
class Cap:
    """At most `most` items of a category in a list; categories int64 [I] from 0 on."""

    categories: np.ndarray
    most: int


def merged(channels: Sequence[Channel], k: int, cap: Cap | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items int64 [N, K], scores float32 [N, K] and sources int64 [N, K] of each user: what the channels give.

    Best score first, equal ones by item; a row that runs short ends in item -1, score -inf.
    """
    n_users = len(channels[0].items)
    found, scores = empty_results(n_users, k)
    sources = np.zeros((n_users, k), dtype=np.int64)
    filled = np.zeros(n_users, dtype=np.int64)  # [N]
    for channel in channels:
        fresh = (channel.items != NO_ITEM) & ~among(channel.items, found)  # [N, W]
        if cap is not None and channel.capped:
            fresh &= _below_cap(channel.items, fresh, found, cap)
        place = np.cumsum(fresh, axis=1)  # [N, W], from 1
        room = np.minimum(k - filled, k if channel.quota is None else channel.quota)  # [N]
        rows, columns = np.nonzero(fresh & (place <= room[:, None]))
        places = filled[rows] + place[rows, columns] - 1
        found[rows, places] = channel.items[rows, columns]
        scores[rows, places] = channel.scores[rows, columns]
        sources[rows, places] = channel.source
        filled += np.bincount(rows, minlength=n_users)
    order = np.lexsort((found, -scores), axis=-1)  # [N, K]; what is missing is last
    return tuple(np.take_along_axis(array, order, axis=1) for array in (found, scores, sources))  # type: ignore[return-value]


def _below_cap(items: np.ndarray, fresh: np.ndarray, found: np.ndarray, cap: Cap) -> np.ndarray:
    """Which fresh items [N, W] are among the first of their category, with those found [N, K] before them."""
    n_categories = int(cap.categories.max(initial=0)) + 1
    rows, columns = np.nonzero(fresh)  # ascending, so that a row's best come first
    groups = rows * n_categories + cap.categories[items[rows, columns]]  # [P]
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], groups[order])
    earlier = np.empty(len(groups), dtype=np.int64)  # [P]: of the same group, in this channel
    earlier[order] = np.arange(len(groups)) - starts
    there, places = np.nonzero(found != NO_ITEM)
    taken = np.sort(there * n_categories + cap.categories[found[there, places]])
    earlier += np.searchsorted(taken, groups, side="right") - np.searchsorted(taken, groups)
    below = np.zeros(items.shape, dtype=bool)
    below[rows, columns] = earlier < cap.most
    return below
