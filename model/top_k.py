"""The exact top k of dot products, in constant memory, and the same on every machine.

A float32 matrix product rounds differently from one BLAS, block size or thread count to the next. So it only
picks candidates. Those are scored again in float64, and a row is accepted once the rounding of the float32
product, which has a bound, cannot have hidden a better item; otherwise more candidates are picked.
"""

# Axes: N queries, I items, D dimensions, W items of a block, C candidates of a query, K results,
# P (query, item) pairs. An item's *position* is its row of the matrix; a pair is a key, query * I + position.
from __future__ import annotations

import numpy as np
import torch

from model.ragged import slots

BLOCK_ITEMS = 8_192
BLOCK_CELLS = 1 << 20  # queries x items: 4 MB of scores, in the cache; some 50 MB at worst, if all are hits
SPARE = 16  # candidates beyond k: the first look nearly always suffices
MISSING = -1
UNIT_ROUNDOFF = 2.0**-24  # of float32


def exact_top_k(
    queries: np.ndarray,
    matrix: np.ndarray,
    k: int,
    forbidden: np.ndarray,
    largest_norm: float,
    spare: int = SPARE,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 [N, K] and scores float32 [N, K], best first, equal scores by position.

    queries float32 [N, D]; matrix float32 [I, D], I > 0; forbidden int64 [P]: keys in ascending order;
    largest_norm: of the rows of the matrix. Rows that run short end in position -1, score -inf.
    """
    n_items = len(matrix)
    width = min(k + spare, n_items)
    step = max(1, BLOCK_CELLS // max(width, min(BLOCK_ITEMS, n_items)))
    positions, scores = empty_results(len(queries), k)
    for start in range(0, len(queries), step):
        rows = np.arange(start, min(start + step, len(queries)))  # [n]
        keys = keys_of_rows(forbidden, rows, n_items)
        estimates, candidates = _shortlist(queries[rows], matrix, width, keys)  # [n, C], [n, C]
        positions[rows], scores[rows] = rank(queries[rows], matrix, candidates, k)
        slack = _rounding(queries[rows], largest_norm)  # [n]
        proven = np.isneginf(estimates[:, -1]) | (estimates[:, -1] + slack < scores[rows, k - 1])
        again = rows[~proven]
        if again.size and width < n_items:
            keys = keys_of_rows(forbidden, again, n_items)
            more = exact_top_k(queries[again], matrix, k, keys, largest_norm, spare * 8)
            positions[again], scores[again] = more
    return positions, scores


def empty_results(n_queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, K] of -1 and scores [N, K] of -inf."""
    shape = (n_queries, k)
    return np.full(shape, MISSING, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)


def rank(
    queries: np.ndarray, matrix: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the candidates int64 [N, C] (-1 where there is none): positions [N, K], scores [N, K].

    A score is the dot product in float64, rounded to float32: every backend gives an item the same one.
    """
    positions, scores = empty_results(len(queries), k)
    step = max(1, BLOCK_CELLS // max(1, candidates.shape[1] * matrix.shape[1]))
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        at = candidates[block]  # [n, C]
        vectors = matrix[at].astype(np.float64)  # [n, C, D]
        exact = np.einsum("nd,ncd->nc", queries[block].astype(np.float64), vectors)
        exact = np.where(at == MISSING, -np.inf, exact).astype(np.float32)  # [n, C]
        order = np.lexsort((at, -exact), axis=-1)[:, :k]  # [n, min(C, K)]
        positions[block, : order.shape[1]] = np.take_along_axis(at, order, axis=1)
        scores[block, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
    return positions, scores


def _rounding(queries: np.ndarray, largest_norm: float) -> np.ndarray:
    """How far a float32 dot product of a query [N, D], and its rounded score, can be from the truth: [N]."""
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    return (queries.shape[1] + 4) * UNIT_ROUNDOFF * largest_norm * norms


def _shortlist(
    queries: np.ndarray, matrix: np.ndarray, width: int, forbidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best by the float32 product: scores [N, C], best first; positions [N, C], -1 at -inf."""
    n_queries, n_items, step = len(queries), len(matrix), max(width, BLOCK_ITEMS)
    rows, hidden = np.divmod(forbidden, n_items)
    buffer = np.empty(n_queries * min(step, n_items), dtype=np.float32)
    best, at = np.empty((n_queries, 0), dtype=np.float32), np.empty((n_queries, 0), dtype=np.int64)
    for start in range(0, n_items, step):
        items = matrix[start : start + step]
        block = buffer[: n_queries * len(items)].reshape(n_queries, len(items))
        np.matmul(queries, items.T, out=block)  # [N, W]
        inside = (hidden >= start) & (hidden < start + len(items))
        block[rows[inside], hidden[inside] - start] = -np.inf
        # the first block is as wide as the list, or has all items
        best, at = _largest(block, width) if start == 0 else _merged(best, at, block, start)
    return best, np.where(np.isneginf(best), MISSING, at)


def _merged(best: np.ndarray, at: np.ndarray, block: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The shortlist [N, C] after one more block [N, W]: only what beats its last score is looked at."""
    n_queries, width = best.shape
    hits = np.flatnonzero(block > best[:, -1:])  # [P]
    rows, columns = np.divmod(hits, block.shape[1])
    places, longest = slots(rows, n_queries)
    scores = np.full((n_queries, width + longest), -np.inf, dtype=np.float32)
    positions = np.full((n_queries, width + longest), MISSING, dtype=np.int64)
    scores[:, :width], positions[:, :width] = best, at
    scores[rows, width + places], positions[rows, width + places] = block.ravel()[hits], columns + start
    best, chosen = _largest(scores, width)
    return best, np.take_along_axis(positions, chosen, axis=1)


def _largest(scores: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The `width` largest of each row, in descending order, and their columns."""
    # torch, because numpy's argpartition takes seven times as long
    values, at = torch.topk(torch.from_numpy(scores), width, dim=1)
    return values.numpy(), at.numpy()


def keys_of_rows(keys: np.ndarray, rows: np.ndarray, n_items: int) -> np.ndarray:
    """Those of the keys [P] that belong to `rows` (ascending), which are renumbered 0, 1, ..."""
    key_rows, positions = np.divmod(keys, n_items)
    renumbered = np.minimum(np.searchsorted(rows, key_rows), len(rows) - 1)
    kept = rows[renumbered] == key_rows
    return renumbered[kept] * n_items + positions[kept]
