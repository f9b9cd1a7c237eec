"""Candidate lists for users' vectors: the two towers, what is popular, and items that nobody has clicked yet.

A user with a vector to go by is searched for; `Quotas` keeps places for the other channels, whose items are scored by
the same product. A cold user gets what is popular in their segment, scored by its share of the clicks.
"""

# Axes: N users, D dimensions, K candidates, W items that a channel names, S segments, P items of all segments.
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.channels import Cap, Channel, merged
from model.item_index import ItemIndex
from model.ragged import Ragged, among, cut, rows_of
from model.top_k import MISSING, dot_products

SOURCES = ("two_tower", "popular", "explore")
TWO_TOWER, POPULAR, EXPLORE = range(len(SOURCES))
EVERYBODY = 0  # the segment of whoever has no other
WIDEST = 64  # times the length of a list: so far a search goes for items that the cap lets through

Lists = tuple[np.ndarray, np.ndarray, np.ndarray]  # items [N, K], -1 after the last; scores [N, K]; sources [N, K]


@dataclass(frozen=True)
class Quotas:
    """Length of a list, and how many of its places are kept for other channels than the towers."""

    k: int
    popular: int = 0
    explore: int = 0


class Popular:
    """Items by segment, most clicked first."""

    def __init__(self, segments: np.ndarray, items: np.ndarray, shares: np.ndarray) -> None:
        """Parallel arrays [P], the best of a segment first; shares of the segment's clicks.

        ValueError where segment 0, everybody's, is missing.
        """
        order = np.argsort(segments, kind="stable")
        known, starts = np.unique(segments[order], return_index=True)
        parts = zip(known.tolist(), np.split(order, starts[1:]), strict=False)
        self.lists = {segment: (items[part], shares[part]) for segment, part in parts}
        if EVERYBODY not in self.lists:
            raise ValueError(f"popular items want a list for segment {EVERYBODY}, got {known[:5].tolist()}")

    def of(self, segments: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Items int64 [N, W] and shares float32 [N, W] of each user's segment [N]; nothing for one without clicks."""
        known, inverse = np.unique(segments, return_inverse=True)
        items = np.full((len(known), width), MISSING, dtype=np.int64)
        shares = np.full((len(known), width), -np.inf, dtype=np.float32)
        for row, segment in enumerate(known.tolist()):
            own, share = (array[:width] for array in self.lists.get(segment, (items[row, :0], shares[row, :0])))
            items[row, : len(own)], shares[row, : len(own)] = own, share
        return items[inverse], shares[inverse]


class CandidateLists:
    """What a worker opens once: the index, the popular items, and an index of what is explored."""

    def __init__(
        self,
        index: ItemIndex,
        popular: Popular,
        quotas: Quotas,
        explore: ItemIndex | None = None,
        cap: Cap | None = None,
    ) -> None:
        """explore: items without a click, by the vectors of their features; None where nothing is explored."""
        self.index, self.popular, self.quotas, self.explore, self.cap = index, popular, quotas, explore, cap

    def of(
        self, queries: np.ndarray, excluded: tuple[np.ndarray, np.ndarray], cold: np.ndarray, segments: np.ndarray
    ) -> Lists:
        """For queries float32 [N, D], excluded items as in `ItemIndex.search`, cold bool [N] and segments int64 [N].

        Best score first; a row has K items unless all that are not excluded are fewer.
        """
        k, n_users = self.quotas.k, len(queries)
        found = np.full((n_users, k), MISSING, dtype=np.int64)
        scores, sources = np.full((n_users, k), -np.inf, dtype=np.float32), np.zeros((n_users, k), dtype=np.int64)
        if len(warm := np.flatnonzero(~cold)):
            width = k if self.cap is None else 2 * k
            part = self._searched(queries[warm], rows_of(Ragged(*excluded), warm), segments[warm], width)
            found[warm], scores[warm], sources[warm] = part
        if cold.any():
            found[cold], scores[cold], sources[cold] = self._popular(segments[cold])
        return found, scores, sources

    def _searched(self, queries: np.ndarray, excluded: Ragged, segments: np.ndarray, width: int) -> Lists:
        quotas, items_scores = self.quotas, self.index.search(queries, width, excluded)
        if self.cap is None and not quotas.popular and not quotas.explore:
            return *items_scores, np.full(items_scores[0].shape, TWO_TOWER)
        main = Channel(TWO_TOWER, *items_scores)
        channels = [Channel(TWO_TOWER, *items_scores, quota=quotas.k - quotas.popular - quotas.explore)]
        if quotas.popular:
            channels.append(self._popular_channel(queries, excluded, segments))
        if quotas.explore and self.explore is not None:
            named = self.explore.search(queries, quotas.k, excluded)
            channels.append(Channel(EXPLORE, *named, quota=quotas.explore))
        channels.append(main)
        at_its_widest = width >= min(WIDEST * quotas.k, len(self.index))
        if at_its_widest:
            channels.append(Channel(TWO_TOWER, *items_scores, capped=False))
        lists = merged(channels, quotas.k, self.cap)
        short = np.flatnonzero(lists[0][:, -1] == MISSING)
        if len(short) and not at_its_widest:
            more = self._searched(queries[short], rows_of(excluded, short), segments[short], 4 * width)
            for whole, part in zip(lists, more, strict=True):
                whole[short] = part
        return lists

    def _popular_channel(self, queries: np.ndarray, excluded: Ragged, segments: np.ndarray) -> Channel:
        """What is popular with each user's segment, or with everybody where that has no clicks; scored by the index."""
        width = 2 * self.quotas.k + int(np.diff(excluded.offsets).max(initial=0))
        items, _ = self.popular.of(segments, width)
        nothing = items[:, 0] == MISSING
        items[nothing] = self.popular.of(np.zeros(1, dtype=np.int64), width)[0]
        rows, left_out = cut(excluded, 0, len(queries))
        items[among(items, left_out, rows)] = MISSING
        scores = dot_products(queries, self.index.matrix, self.index.positions(items))
        items[np.isneginf(scores)] = MISSING
        return Channel(POPULAR, items, scores, quota=self.quotas.popular)

    def _popular(self, segments: np.ndarray) -> Lists:
        """Lists of cold users: their segment's, filled up with everybody's."""
        known, inverse = np.unique(segments, return_inverse=True)
        width = WIDEST * self.quotas.k
        own = self.popular.of(known, width)
        everybody = self.popular.of(np.zeros(len(known), dtype=np.int64), width)
        channels = [Channel(POPULAR, *named) for named in (own, everybody)]
        channels += [Channel(POPULAR, *named, capped=False) for named in (own, everybody)]
        lists = merged(channels, self.quotas.k, self.cap)
        return lists[0][inverse], lists[1][inverse], lists[2][inverse]
