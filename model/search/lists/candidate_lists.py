"""Candidate lists from user embeddings: two-tower search, popular items, items without a click (explore), neighbours.

The list of a warm user comes from the search; `Quotas` reserves ranks for the other channels, whose items are scored by
the same dot product, the best one of several interests. A cold user gets the popular items of their segment, scored by
their share of the clicks. A `Calibration` turns these scores of the channels into one scale.
"""

# Axes: N users, Q interests of a user, D dimensions, K candidates, W items of a channel, S segments, I indexed items.
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.features.ragged import Ragged, among, cut, rows_of
from model.search.interests import best_dot_products
from model.search.item_index import ItemIndex
from model.search.lists import EXPLORE, NEIGHBOURS, POPULAR, TWO_TOWER
from model.search.lists.calibration import Calibration
from model.search.lists.channels import Cap, Channel, Merged, merge_channels
from model.search.lists.neighbours import ItemNeighbours
from model.search.lists.popular import PopularItems
from model.search.top_k import empty_results, groups_of_similar_width
from model.vocabulary import NO_ITEM

CAP_WIDTH_FACTOR = 2  # with a cap, results of the first search, as a multiple of the length of a list
MAX_WIDTH_FACTOR = 64  # with a cap, the most results of a search, also as a multiple of that length
VALUES_AT_ONCE = 1 << 20  # entries of a table [N, W] in memory at once
UNCALIBRATED = Calibration()
NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Quotas:
    """Length of a list, and how many of its ranks are reserved for the popular, explore and neighbour channels."""

    k: int
    popular: int = 0
    explore: int = 0
    neighbours: int = 0

    @property
    def two_tower(self) -> int:
        """The ranks that are left for the search."""
        return self.k - self.popular - self.explore - self.neighbours


class Lists(NamedTuple):
    """The lists of N users, best item first. Shorter rows end with item -1 and scores of -inf.

    channel_scores: those of the channels, which decide the order unless lists are ordered by score; scores: see
    `Calibration`.
    """

    items: np.ndarray  # int64 [N, K]
    channel_scores: np.ndarray  # float32 [N, K]
    sources: np.ndarray  # int64 [N, K]
    scores: np.ndarray  # float32 [N, K]

    def by_score(self) -> Lists:
        """The same lists, each ordered by score, equal scores by the score of the channel, then by item."""
        order = np.lexsort((self.items, -self.channel_scores, -self.scores), axis=-1)  # [N, K]
        return Lists(*(np.take_along_axis(array, order, axis=1) for array in self))


class Users(NamedTuple):
    """What the lists of N warm users are made from, as in `CandidateLists.lists_for`."""

    queries: np.ndarray
    excluded: Ragged
    segments: np.ndarray
    history: Ragged

    def rows(self, rows: np.ndarray) -> Users:
        return Users(self.queries[rows], rows_of(self.excluded, rows), self.segments[rows], rows_of(self.history, rows))


class CandidateLists:
    """Makes lists from an index, popular items and an index of the items to explore."""

    def __init__(
        self,
        index: ItemIndex,
        popular: PopularItems,
        quotas: Quotas,
        explore: ItemIndex | None = None,
        cap: Cap | None = None,
        calibration: Calibration = UNCALIBRATED,
        *,
        order_by_score: bool = False,
        neighbours: ItemNeighbours | None = None,
    ) -> None:
        """explore: an index of the items without a click, by embeddings of their features; None: no such channel.

        neighbours: those of all items; None: no such channel.
        order_by_score: order a list by the one scale of its scores, not by the scores of the channels.
        """
        self.index, self.popular, self.quotas, self.explore, self.cap = index, popular, quotas, explore, cap
        self.calibration, self.order_by_score, self.neighbours = calibration, order_by_score, neighbours
        self.max_width = min(MAX_WIDTH_FACTOR * quotas.k, len(index))
        self.full_length = quotas.k if cap is None else min(quotas.k, _capacity(cap, index.item_indices))

    def lists_for(
        self,
        queries: np.ndarray,
        excluded: tuple[np.ndarray, np.ndarray],
        cold: np.ndarray,
        segments: np.ndarray,
        history: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Lists:
        """The lists of N users.

        queries and excluded: as in `ItemIndex.search`; cold bool [N]; segments int64 [N]; history: the clicked items,
        oldest first, as flat indices and offsets [N + 1], which only the neighbours are found by.
        A warm user's list has K items unless fewer than K items are left after the exclusions.
        """
        k, n_users = self.quotas.k, len(queries)
        lists = Lists(*empty_results(n_users, k), np.zeros((n_users, k), dtype=np.int64), empty_results(n_users, k)[1])
        if len(warm := np.flatnonzero(~cold)):
            width = k if self.cap is None else CAP_WIDTH_FACTOR * k
            known = (NOTHING, np.zeros(n_users + 1, dtype=np.int64)) if history is None else history
            users = Users(queries, Ragged(*excluded), segments, Ragged(*known))
            _put(self._warm_lists(users.rows(warm), width), lists, warm)
        if cold.any():
            _put(self._cold_lists(segments[cold]), lists, np.flatnonzero(cold))
        return lists.by_score() if self.order_by_score else lists

    def _warm_lists(self, users: Users, width: int) -> Lists:
        """Lists from each user's `width` best items, or more where the cap requires it; in blocks of users."""
        n_users = len(users.queries)
        parts = np.array_split(np.arange(n_users), -(-n_users * width // VALUES_AT_ONCE))
        made = [self._warm_block(users.rows(rows), width) for rows in parts]
        return Lists(*(np.concatenate(arrays) for arrays in zip(*made, strict=True)))

    def _warm_block(self, users: Users, width: int) -> Lists:
        quotas, items_scores = self.quotas, self.index.search(users.queries, width, users.excluded)
        log_totals = self.calibration.log_totals(items_scores[1])
        if self.cap is None and quotas.two_tower == quotas.k:
            return self._warm_scored((*items_scores, np.full(items_scores[0].shape, TWO_TOWER)), log_totals)
        channels = [
            Channel(TWO_TOWER, *items_scores, quota=quotas.two_tower),
            *self._other_channels(users),
            Channel(TWO_TOWER, *items_scores),
        ]
        lists = merge_channels(channels, quotas.k, self.cap)
        lengths = (lists[0] != NO_ITEM).sum(axis=1)  # [N]
        if (lengths < quotas.k).any():
            channels.append(Channel(TWO_TOWER, *items_scores, capped=False))
            lists = merge_channels(channels, quotas.k, self.cap)
        scored = self._warm_scored(lists, log_totals)
        short = np.flatnonzero(lengths < self.full_length)
        if len(short) and width < self.max_width:
            _put(self._warm_lists(users.rows(short), 4 * width), scored, short)
        return scored

    def _other_channels(self, users: Users) -> list[Channel]:
        """The channels beside the search, each with its quota, in the order in which they contribute."""
        quotas, channels = self.quotas, list[Channel]()
        if quotas.neighbours and self.neighbours is not None:
            near = self.neighbours.best(users.history, users.excluded, 2 * quotas.k)
            channels.append(self._scored_channel(NEIGHBOURS, near, users.queries, quotas.neighbours))
        if quotas.popular:
            items = self._popular_items(users.excluded, users.segments)
            channels.append(self._scored_channel(POPULAR, items, users.queries, quotas.popular))
        if quotas.explore and self.explore is not None:
            explored = self.explore.search(users.queries, quotas.k, users.excluded)
            channels.append(Channel(EXPLORE, *explored, quota=quotas.explore))
        return channels

    def _scored_channel(self, source: int, items: np.ndarray, queries: np.ndarray, quota: int) -> Channel:
        """A channel of items [N, W], scored by the dot product; those that are not in the index are left out."""
        scores = best_dot_products(queries, self.index.matrix, self.index.positions(items))
        return Channel(source, np.where(np.isneginf(scores), NO_ITEM, items), scores, quota=quota)

    def _warm_scored(self, merged: Merged, log_totals: np.ndarray) -> Lists:
        _, channel_scores, sources = merged
        return Lists(*merged, self.calibration.warm_scores(channel_scores, sources, log_totals))

    def _popular_items(self, excluded: Ragged, segments: np.ndarray) -> np.ndarray:
        """The popular items of each user's segment (of all users, if it has no clicks), int64 [N, 2 K]."""
        width = 2 * self.quotas.k
        items = np.full((len(segments), width), NO_ITEM, dtype=np.int64)
        widths = np.minimum(width + np.diff(excluded.offsets), self.popular.longest)  # [N]
        for rows in groups_of_similar_width(widths):
            allowed = self._allowed_popular(segments[rows], rows_of(excluded, rows), int(widths[rows].max()))[:, :width]
            items[rows, : allowed.shape[1]] = allowed
        return items

    def _allowed_popular(self, segments: np.ndarray, excluded: Ragged, width: int) -> np.ndarray:
        """The first W popular items of each user's segment [N], without the excluded ones, in order: int64 [N, W]."""
        items, _ = self.popular.top(segments, width)
        empty = items[:, 0] == NO_ITEM
        items[empty] = self.popular.top_of_all_users(1, width)[0]
        rows, excluded_items = cut(excluded, 0, len(segments))
        items[among(items, excluded_items, rows)] = NO_ITEM
        return np.take_along_axis(items, np.argsort(items == NO_ITEM, axis=1, kind="stable"), axis=1)

    def _cold_lists(self, segments: np.ndarray) -> Lists:
        """The popular items of each segment, then those of all users, whose shares are scaled down to rank lower."""
        known, inverse = np.unique(segments, return_inverse=True)
        width = MAX_WIDTH_FACTOR * self.quotas.k
        in_segment = self.popular.top(known, width)
        items, shares = self.popular.top_of_all_users(len(known), width)
        of_all = items, np.maximum(shares, 0) * _scale(in_segment[1], shares)[:, None]  # -inf where there is no item
        channels = [
            Channel(POPULAR, items, shares, capped=capped)
            for capped in (True, False)
            for items, shares in (in_segment, of_all)
        ]
        merged = merge_channels(channels, self.quotas.k, self.cap)
        lists = Lists(*merged, self.calibration.cold_scores(merged[1]))
        return Lists(*(array[inverse] for array in lists))


def _put(part: Lists, lists: Lists, rows: np.ndarray) -> None:
    """Write the lists `part` into the `rows` of `lists`."""
    for whole, some in zip(lists, part, strict=True):
        whole[rows] = some


def _scale(shares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The factors [S], at most 1, that scale the largest of each row of `others` [S, W] to the row's smallest share."""
    smallest = np.where(np.isfinite(shares), shares, np.inf).min(axis=1, initial=np.inf)
    return np.minimum(1, smallest / np.maximum(others.max(axis=1, initial=0), np.finfo(np.float32).tiny))


def _capacity(cap: Cap, items: np.ndarray) -> int:
    """The most items of `items` [I] that a list can contain under the cap."""
    return int(np.minimum(np.bincount(cap.categories[items]), cap.max_items).sum())
