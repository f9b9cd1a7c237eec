"""How good ranked lists are, from arrays: each metric one small function, one value a user.

`hits` bool [U, K] says of each place of a list whether its item is relevant; `n_relevant` [U] how many are.
"""

# Axes: U users, K places of a list, I items, R relevant items of all users, P (user, item) pairs.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.ragged import among, checked_ragged, cut
from model.vocabulary import NO_ITEM


def ranking_metrics(
    ranked: np.ndarray, relevant: tuple[np.ndarray, np.ndarray], ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """recall@k, ndcg@k, hit_rate@k and mrr@k for each k: float64 [U], NaN for a user without relevant items.

    ranked int64 [U, K]: item indices, best first, -1 after the last.
    relevant: flat item indices int64 [R] and offsets int64 [U + 1]; an item named twice counts once.
    ValueError for an item twice in a list, an item after a -1, a k beyond 1 to K.
    """
    ranked = checked_lists(ranked)
    wrong = [k for k in ks if not 1 <= k <= ranked.shape[1]]
    if wrong:
        raise ValueError(f"ks wants 1 to {ranked.shape[1]}, the length of the lists, got {wrong}")
    hits, n_relevant = match(ranked, relevant)  # [U, K], [U]
    counted = np.where(n_relevant > 0, n_relevant, np.nan)  # [U] NaN goes through to the metrics
    metrics = {"recall": recall, "ndcg": ndcg, "hit_rate": hit_rate, "mrr": mrr}
    return {f"{name}@{k}": metric(hits[:, :k], counted) for k in ks for name, metric in metrics.items()}


def match(ranked: np.ndarray, relevant: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which places of the lists [U, K] hold a relevant item, bool [U, K]; how many a user has, int64 [U]."""
    n_users = len(ranked)
    rows, items = cut(checked_ragged(relevant, n_users, "relevant"), 0, n_users)  # [R], [R]
    if items.min(initial=0) < 0:
        raise ValueError(f"relevant wants item indices from 0 on, got {items.min()}")
    stride = max(int(ranked.max(initial=0)), int(items.max(initial=0))) + 1
    if n_users * stride >= 2**63:
        raise ValueError(f"{n_users} users times item indices up to {stride - 1} do not fit 63 bits")
    wanted = np.unique(rows * stride + items)  # [P]
    listed = np.arange(n_users)[:, None] * stride + ranked  # [U, K]
    hits = np.isin(listed, wanted) & (ranked != NO_ITEM)
    return hits, np.bincount(wanted // stride, minlength=n_users)


def recall(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """The share of a user's relevant items that the list holds."""
    return hits.sum(axis=1) / n_relevant


def ndcg(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """Gains of 1 / log2(rank + 1), over those of a list that starts with as many relevant items as fit."""
    gains = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))  # [K]
    room = np.minimum(n_relevant, hits.shape[1])  # [U]
    ideal = np.where(np.arange(hits.shape[1]) < room[:, None], gains, 0.0).sum(axis=1)  # [U]
    return np.divide(hits @ gains, ideal, out=np.full(len(hits), np.nan), where=ideal > 0)


def hit_rate(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 if the list holds a relevant item, else 0."""
    return np.where(np.isnan(n_relevant), np.nan, hits.any(axis=1))


def mrr(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    """1 / the rank of the first relevant item, 0 without one."""
    first = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)  # [U]
    return np.where(np.isnan(n_relevant), np.nan, first)


def checked_lists(ranked: np.ndarray) -> np.ndarray:
    """The lists as an array [U, K]. ValueError for what `ranking_metrics` forbids in them."""
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or not np.issubdtype(ranked.dtype, np.integer):
        raise ValueError(f"ranked wants integers [U, K], got {ranked.dtype} {list(ranked.shape)}")
    if (ranked < NO_ITEM).any():
        raise ValueError(f"ranked wants item indices or -1, got {ranked.min()}")
    if ((ranked[:, :-1] == NO_ITEM) & (ranked[:, 1:] != NO_ITEM)).any():
        raise ValueError("ranked wants -1 only after a list's last item, got an item after it")
    in_order = np.sort(ranked, axis=1)
    repeated = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NO_ITEM)
    if repeated.any():
        raise ValueError(f"ranked wants each item once in a list, got {in_order[:, 1:][repeated][0]} again")
    return ranked.astype(np.int64, copy=False)


def shared_share(ranked: np.ndarray, wanted: np.ndarray) -> float:
    """The share of a user's items in `wanted` [U, K] that `ranked` [U, L] holds too; the mean of users who have any."""
    n_shared = (among(wanted, ranked) & (wanted != NO_ITEM)).sum(axis=1)  # [U]
    n_wanted = (wanted != NO_ITEM).sum(axis=1)
    asked = n_wanted > 0
    return float((n_shared[asked] / n_wanted[asked]).mean()) if asked.any() else float("nan")


def coverage(ranked: np.ndarray, n_items: int) -> float:
    """The share of the n_items items that are in at least one of the lists int64 [U, K]."""
    listed = _listed(ranked, n_items)
    return len(np.unique(listed)) / n_items


def share_of(ranked: np.ndarray, flags: np.ndarray) -> float:
    """The share of the lists' [U, K] filled places whose item is flagged, bool [I]; NaN if none is filled."""
    listed = _listed(ranked, len(flags))
    return float(np.asarray(flags, dtype=bool)[listed].mean()) if len(listed) else float("nan")


def _listed(ranked: np.ndarray, n_items: int) -> np.ndarray:
    """The items at the filled places, int64 [P]. ValueError for one beyond n_items, and for n_items < 1."""
    listed = np.asarray(ranked)[np.asarray(ranked) != NO_ITEM]
    smallest, largest = listed.min(initial=0), listed.max(initial=0)
    if smallest < 0 or largest >= n_items:
        raise ValueError(f"ranked wants items below {n_items} or -1, got {smallest} to {largest}")
    return listed


def popularity_slices(counts: np.ndarray, head_share: float = 0.5, middle_share: float = 0.3) -> np.ndarray:
    """The slice of each item, int8 [I], by its clicks [I]: 0 head, 1 middle, 2 tail.

    Items are taken from the most clicked on, equal counts by index. Head are the first that together hold
    `head_share` of all clicks, the item that reaches it included; middle, in the same way, the next ones up
    to head_share + middle_share; tail the rest and every item without a click.
    ValueError for negative counts, and for shares below 0 or above 1 together.
    """
    counts = np.asarray(counts)
    if not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise ValueError(f"counts wants whole numbers from 0 on, got {counts.dtype}, {counts.min(initial=0)}")
    if head_share < 0 or middle_share < 0 or head_share + middle_share > 1 + 1e-12:
        raise ValueError(f"shares want at least 0 and at most 1 together, got {head_share}, {middle_share}")
    order = np.argsort(-counts, kind="stable")  # [I]
    more_clicked = np.cumsum(counts[order]) - counts[order]  # [I] clicks on the items before
    ends = np.array([head_share, head_share + middle_share]) - 1e-12  # as 0.1 + 0.2 > 0.3
    slices = np.empty(len(counts), dtype=np.int8)
    slices[order] = np.searchsorted(ends * counts.sum(), more_clicked, side="right")
    return slices
