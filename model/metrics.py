"""Ranking metrics of lists of items. Each metric is one function that returns one value per user.

`hits` bool [U, K]: whether the item at each rank is relevant; `n_relevant` [U]: number of relevant items.
"""

# Axes: U users, K ranks of a list, I items, R relevant items of all users, P (user, item) pairs,
# N distinct counts of clicks.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.features.ragged import among, checked_ragged, cut
from model.vocabulary import NO_ITEM


def ranking_metrics(
    ranked: np.ndarray, relevant: tuple[np.ndarray, np.ndarray], ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """recall@k, ndcg@k, hit_rate@k and mrr@k for each k: float64 [U], NaN for a user without relevant items.

    ranked int64 [U, K]: item indices, best first, then -1 (NO_ITEM) in a shorter list.
    relevant: flat item indices int64 [R] and offsets int64 [U + 1]; a repeated item counts once.
    Raises ValueError for an item that occurs twice in a list, an item after a -1, and a k outside 1 to K.
    """
    ranked = checked_lists(ranked)
    wrong = [k for k in ks if not 1 <= k <= ranked.shape[1]]
    if wrong:
        raise ValueError(f"ks must be 1 to {ranked.shape[1]}, the length of the lists, got {wrong}")
    hits, n_relevant = match(ranked, relevant)  # [U, K], [U]
    counted = np.where(n_relevant > 0, n_relevant, np.nan)  # [U], NaN makes the metrics NaN
    metrics = {"recall": recall, "ndcg": ndcg, "hit_rate": hit_rate, "mrr": mrr}
    return {f"{name}@{k}": metric(hits[:, :k], counted) for k in ks for name, metric in metrics.items()}


def match(ranked: np.ndarray, relevant: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Whether the item at each rank is relevant, bool [U, K], and each user's number of relevant items, int64 [U]."""
    n_users = len(ranked)
    rows, items = cut(checked_ragged(relevant, n_users, "relevant"), 0, n_users)  # [R], [R]
    if items.min(initial=0) < 0:
        raise ValueError(f"relevant must be item indices of 0 or more, got {items.min()}")
    stride = max(int(ranked.max(initial=0)), int(items.max(initial=0))) + 1
    if n_users * stride >= 2**63:
        raise ValueError(f"users times the largest item index must fit 63 bits, got {n_users} and {stride - 1}")
    pairs = np.unique(rows * stride + items)  # [P], relevant pairs of a user and an item as one number
    listed = np.arange(n_users)[:, None] * stride + ranked  # [U, K]
    hits = np.isin(listed, pairs) & (ranked != NO_ITEM)
    return hits, np.bincount(pairs // stride, minlength=n_users)


def recall(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """The share of a user's relevant items that are in the list."""
    return hits.sum(axis=1) / n_relevant


def ndcg(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """The sum of 1 / log2(rank + 1) over the hits, divided by that of a list that begins with all relevant items."""
    gains = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))  # [K]
    room = np.minimum(n_relevant, hits.shape[1])  # [U]
    ideal = np.where(np.arange(hits.shape[1]) < room[:, None], gains, 0.0).sum(axis=1)  # [U]
    return np.divide(hits @ gains, ideal, out=np.full(len(hits), np.nan), where=ideal > 0)


def hit_rate(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 if a relevant item is in the list, else 0."""
    return np.where(np.isnan(n_relevant), np.nan, hits.any(axis=1))


def mrr(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 / rank of the first relevant item, 0 if there is none."""
    first = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)  # [U]
    return np.where(np.isnan(n_relevant), np.nan, first)


def checked_lists(ranked: np.ndarray) -> np.ndarray:
    """The lists as int64 [U, K]. Raises ValueError for lists that `ranking_metrics` does not allow."""
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or not np.issubdtype(ranked.dtype, np.integer):
        raise ValueError(f"ranked must be integers [U, K], got {ranked.dtype} {list(ranked.shape)}")
    if (ranked < NO_ITEM).any():
        raise ValueError(f"ranked must be item indices or -1, got {ranked.min()}")
    if ((ranked[:, :-1] == NO_ITEM) & (ranked[:, 1:] != NO_ITEM)).any():
        raise ValueError("ranked must have -1 only after the last item of a list, got an item after -1")
    in_order = np.sort(ranked, axis=1)
    repeated = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NO_ITEM)
    if repeated.any():
        raise ValueError(f"ranked must have each item once in a list, got {in_order[:, 1:][repeated][0]} twice")
    return ranked.astype(np.int64, copy=False)


def shared_share(ranked: np.ndarray, wanted: np.ndarray) -> float:
    """The share of `wanted` items [U, K] that are also in `ranked` [U, L]: the mean over users with wanted items."""
    n_shared = (among(wanted, ranked) & (wanted != NO_ITEM)).sum(axis=1)  # [U]
    n_wanted = (wanted != NO_ITEM).sum(axis=1)  # [U]
    counted = n_wanted > 0
    return float((n_shared[counted] / n_wanted[counted]).mean()) if counted.any() else float("nan")


def share_of(ranked: np.ndarray, flags: np.ndarray) -> float:
    """The share of the items in all lists [U, K] whose flag, bool [I], is set; NaN if all lists are empty."""
    listed = _listed(ranked, len(flags))
    return float(np.asarray(flags, dtype=bool)[listed].mean()) if len(listed) else float("nan")


def _listed(ranked: np.ndarray, n_items: int) -> np.ndarray:
    """The items in all lists, int64 [P]. Raises ValueError for an item of n_items or more, and for n_items < 1."""
    listed = np.asarray(ranked)[np.asarray(ranked) != NO_ITEM]
    smallest, largest = listed.min(initial=0), listed.max(initial=0)
    if smallest < 0 or largest >= n_items:
        raise ValueError(f"ranked must be items below {n_items} or -1, got {smallest} to {largest}")
    return listed


def popularity_slices(counts: np.ndarray, head_share: float = 0.5, middle_share: float = 0.3) -> np.ndarray:
    """Each item's slice, int8 [I], from its clicks [I]: 0 head, 1 middle, 2 tail (like sql/evaluation/item_slices.sql).

    An item is in the head if the items with more clicks have less than `head_share` of all clicks, in the middle if
    they have less than head_share + middle_share, and otherwise in the tail. Items with equal clicks are therefore in
    the same slice. Items without clicks are in the tail.
    Raises ValueError for counts that are negative or not integers, and for shares that are negative or sum to above 1.
    """
    counts = np.asarray(counts)
    if not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise ValueError(f"counts must be integers of 0 or more, got {counts.dtype}, {counts.min(initial=0)}")
    if head_share < 0 or middle_share < 0 or head_share + middle_share > 1 + 1e-12:
        raise ValueError(f"shares must be at least 0 and at most 1 together, got {head_share}, {middle_share}")
    distinct, positions, items = np.unique(counts, return_inverse=True, return_counts=True)  # [N], [I], [N]
    clicks = distinct * items  # [N], of all items with the same count
    share_before = (clicks.sum() - np.cumsum(clicks)) / max(clicks.sum(), 1)  # [N], of the items with more clicks
    slices = np.searchsorted([head_share, head_share + middle_share], share_before, side="right")  # [N]
    slices[distinct == 0] = 2
    return slices[positions].astype(np.int8)
