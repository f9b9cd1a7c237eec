"""Candidate lists for users' vectors: the two towers, what is popular, and items that nobody has clicked yet.

A user with a vector to go by is searched for; `Quotas` keeps places for the other channels, whose items are scored by
the same product. A cold user gets what is popular in their segment, scored by its share of the clicks.
"""

# Axes: N users, D dimensions, K candidates, W items that a channel names, S segments, P items of all segments.
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.ragged import Ragged, among, cut, rows_of
from model.search.channels import Cap, Channel, merged
from model.search.item_index import ItemIndex
from model.search.top_k import alike, dot_products
from model.vocabulary import NO_ITEM

SOURCES = ("two_tower", "popular", "explore")
TWO_TOWER, POPULAR, EXPLORE = range(len(SOURCES))
EVERYBODY = 0  # the segment of whoever has no other
WIDEST = 64  # times the length of a list: so far a search goes for items that the cap lets through
WIDER_BY_CAP = 2  # times the length of a list that is searched for at first, where there is a cap
ENTRIES = 1 << 20  # of a table [N, W] that are at hand at once

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
        self.longest = max((len(of_segment) for of_segment, _ in self.lists.values()), default=0)
        if EVERYBODY not in self.lists:
            raise ValueError(f"popular items want a list for segment {EVERYBODY}, got {known[:5].tolist()}")

    def of(self, segments: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Items int64 [N, W] and shares float32 [N, W] of each user's segment [N]; nothing for one without clicks."""
        known, inverse = np.unique(segments, return_inverse=True)
        items = np.full((len(known), width), NO_ITEM, dtype=np.int64)
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
        self.widest = min(WIDEST * quotas.k, len(index))
        self.reachable = quotas.k if cap is None else min(quotas.k, _most_under(cap, index.item_indices))

    def of(
        self, queries: np.ndarray, excluded: tuple[np.ndarray, np.ndarray], cold: np.ndarray, segments: np.ndarray
    ) -> Lists:
        """For queries float32 [N, D], excluded items as in `ItemIndex.search`, cold bool [N] and segments int64 [N].

        Best score first; a row has K items unless all that are not excluded are fewer.
        """
        k, n_users = self.quotas.k, len(queries)
        found = np.full((n_users, k), NO_ITEM, dtype=np.int64)
        scores, sources = np.full((n_users, k), -np.inf, dtype=np.float32), np.zeros((n_users, k), dtype=np.int64)
        if len(warm := np.flatnonzero(~cold)):
            width = k if self.cap is None else WIDER_BY_CAP * k
            part = self._searched(queries[warm], rows_of(Ragged(*excluded), warm), segments[warm], width)
            found[warm], scores[warm], sources[warm] = part
        if cold.any():
            found[cold], scores[cold], sources[cold] = self._popular(segments[cold])
        return found, scores, sources

    def _searched(self, queries: np.ndarray, excluded: Ragged, segments: np.ndarray, width: int) -> Lists:
        """Lists out of each user's `width` best items, or more where the cap wants it; some users at a time."""
        parts = np.array_split(np.arange(len(queries)), -(-len(queries) * width // ENTRIES))
        made = [self._merged(queries[rows], rows_of(excluded, rows), segments[rows], width) for rows in parts]
        items, scores, sources = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
        return items, scores, sources

    def _merged(self, queries: np.ndarray, excluded: Ragged, segments: np.ndarray, width: int) -> Lists:
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
        lists = merged(channels, quotas.k, self.cap)
        named = (lists[0] != NO_ITEM).sum(axis=1)  # [N]
        if (named < quotas.k).any():
            channels.append(Channel(TWO_TOWER, *items_scores, capped=False))
            lists = merged(channels, quotas.k, self.cap)
        short = np.flatnonzero(named < self.reachable)
        if len(short) and width < self.widest:
            more = self._searched(queries[short], rows_of(excluded, short), segments[short], 4 * width)
            for whole, part in zip(lists, more, strict=True):
                whole[short] = part
        return lists

    def _popular_channel(self, queries: np.ndarray, excluded: Ragged, segments: np.ndarray) -> Channel:
        """What is popular with each user's segment, or with everybody where that has no clicks; scored by the index."""
        wanted = 2 * self.quotas.k
        items = np.full((len(queries), wanted), NO_ITEM, dtype=np.int64)
        widths = np.minimum(wanted + np.diff(excluded.offsets), self.popular.longest)  # [N]
        for rows in alike(widths):
            named = self._allowed(segments[rows], rows_of(excluded, rows), int(widths[rows].max()))[:, :wanted]
            items[rows, : named.shape[1]] = named
        scores = dot_products(queries, self.index.matrix, self.index.positions(items))
        items[np.isneginf(scores)] = NO_ITEM
        return Channel(POPULAR, items, scores, quota=self.quotas.popular)

    def _allowed(self, segments: np.ndarray, excluded: Ragged, width: int) -> np.ndarray:
        """Of the first popular items of each segment [N] those that are not excluded, in order: int64 [N, W]."""
        items, _ = self.popular.of(segments, width)
        nothing = items[:, 0] == NO_ITEM
        items[nothing] = self.popular.of(np.zeros(1, dtype=np.int64), width)[0]
        rows, left_out = cut(excluded, 0, len(segments))
        items[among(items, left_out, rows)] = NO_ITEM
        return np.take_along_axis(items, np.argsort(items == NO_ITEM, axis=1, kind="stable"), axis=1)

    def _popular(self, segments: np.ndarray) -> Lists:
        """Lists of cold users: their segment's, filled up with everybody's, whose shares are scaled to come after."""
        known, inverse = np.unique(segments, return_inverse=True)
        width = WIDEST * self.quotas.k
        own = self.popular.of(known, width)
        items, shares = self.popular.of(np.zeros(len(known), dtype=np.int64), width)
        everybody = items, np.maximum(shares, 0) * _scale(own[1], shares)[:, None]  # -inf where there is no item
        channels = [
            Channel(POPULAR, items, shares, capped=capped)
            for capped in (True, False)
            for items, shares in (own, everybody)
        ]
        lists = merged(channels, self.quotas.k, self.cap)
        return lists[0][inverse], lists[1][inverse], lists[2][inverse]


def _scale(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What brings the other shares [S, W] down to the least of one's own [S, W]: [S], at most 1."""
    least = np.where(np.isfinite(own), own, np.inf).min(axis=1, initial=np.inf)
    return np.minimum(1, least / np.maximum(others.max(axis=1, initial=0), np.finfo(np.float32).tiny))


def _most_under(cap: Cap, items: np.ndarray) -> int:
    """How many of the items [I] a list can hold under the cap."""
    return int(np.minimum(np.bincount(cap.categories[items]), cap.most).sum())
