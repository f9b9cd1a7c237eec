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


def rank(queries: np.ndarray, matrix: np.ndarray, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the candidates int64 [N, C] (-1 where there is none): positions [N, K], scores [N, K].

    A score is the dot product in float64, rounded to float32: every backend gives an item the same one.
    """
    exact = np.empty(candidates.shape, dtype=np.float32)  # [N, C]
    step = max(1, BLOCK_CELLS // max(1, queries.size))
    for start in range(0, candidates.shape[1], step):
        vectors = matrix[candidates[:, start : start + step]].astype(np.float64)  # [N, c, D]
        exact[:, start : start + step] = np.einsum("nd,ncd->nc", queries.astype(np.float64), vectors)
    exact[candidates == MISSING] = -np.inf
    order = np.lexsort((candidates, -exact), axis=-1)[:, :k]  # [N, min(C, K)]
    positions, scores = empty_results(len(queries), k)
    positions[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    scores[:, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
    return positions, scores


def _rounding(queries: np.ndarray, largest_norm: float) -> np.ndarray:
    """How far a float32 dot product of a query [N, D], and its rounded score, can be from the truth: [N]."""
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    return (queries.shape[1] + 4) * UNIT_ROUNDOFF * largest_norm * norms


def _shortlist(
    queries: np.ndarray, matrix: np.ndarray, width: int, forbidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best by the float32 product: scores [N, C], best first; positions [N, C], -1 at -inf."""
    n_queries, n_items = len(queries), len(matrix)
    n_blocks = max(1, n_items // max(width, BLOCK_ITEMS))  # so that each is at least as wide as the list
    rows, hidden = np.divmod(forbidden, n_items)
    columns, blocks = np.divmod(hidden, n_blocks)
    buffer = np.empty(n_queries * -(-n_items // n_blocks), dtype=np.float32)
    for first in range(n_blocks):
        items = matrix[first::n_blocks]  # from everywhere: no order of the catalogue is a bad one
        block = buffer[: n_queries * len(items)].reshape(n_queries, len(items))
        np.matmul(queries, items.T, out=block)  # [N, W]
        block[rows[blocks == first], columns[blocks == first]] = -np.inf
        if first == 0:
            best, at = _largest(block, width)  # [N, C], [N, C]
            at *= n_blocks
        else:
            best, at = _merged(best, at, block, first, n_blocks)
    return best, np.where(np.isneginf(best), MISSING, at)


def _merged(
    best: np.ndarray, at: np.ndarray, block: np.ndarray, first: int, n_blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    """The shortlist [N, C] after one more block [N, W]: only what beats its last score is looked at."""
    n_queries, width = best.shape
    hits = np.flatnonzero(block > best[:, -1:])  # [P]
    rows, columns = np.divmod(hits, block.shape[1])
    places, longest = slots(rows, n_queries)
    scores = np.full((n_queries, width + longest), -np.inf, dtype=np.float32)
    positions = np.full((n_queries, width + longest), MISSING, dtype=np.int64)
    scores[:, :width], positions[:, :width] = best, at
    scores[rows, width + places] = block.ravel()[hits]
    positions[rows, width + places] = columns * n_blocks + first
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
