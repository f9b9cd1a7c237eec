"""The exact top k of dot products, in constant memory, and the same on every machine.

A float32 matrix product rounds differently from one BLAS, block size or thread count to the next. So it (faiss, which
picks while a tile of scores is in the cache) only names candidates. Those are scored again in float64, and a row is
accepted once the rounding of the float32 product, which has a bound, cannot have hidden a better item; otherwise more
candidates are picked.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs.
# An item's *position* is its row of the matrix; a pair is a key, query * I + position.
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np

from model.vocabulary import NO_ITEM

RANKED_VALUES = 1 << 19  # of float64 that are scored at once: 4 MB, in the cache
FLAGS = 4_096  # a query, a power of two: by an item's last digits most candidates are known to be allowed
SPARE = 4  # candidates beyond k: the first look nearly always suffices
WIDER = 4  # rows whose exclusions ask for so many times the candidates are searched apart
UNIT_ROUNDOFF = 2.0**-24  # of float32
# below 2,000 queries faiss 1.15 takes a kernel of its own, which has a third of the speed of its matrix product
faiss.cvar.distance_compute_blas_threshold = 20
# a tile of 8 MB instead of 16, longer along the items: 1.1 to 1.3 times the speed (benchmarks/search.py)
faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = 1_024, 2_048


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
    widths = np.minimum(k + spare + np.bincount(forbidden // n_items, minlength=len(queries)), n_items)  # [N]
    positions, scores = empty_results(len(queries), k)
    again = []
    for rows in alike(widths):
        width = int(widths[rows].max())
        estimates, candidates = faiss.knn(queries[rows], matrix, width, metric=faiss.METRIC_INNER_PRODUCT)  # [n, C]
        kept, keys = min(k + spare, width), keys_of_rows(forbidden, rows, n_items)
        positions[rows], scores[rows] = _settled(queries[rows], matrix, estimates, candidates, keys, kept, k)
        slack = _rounding(queries[rows], largest_norm)  # [n]
        if kept < n_items:
            again.append(rows[estimates[:, kept - 1] + slack >= scores[rows, k - 1]])
    for rows in filter(len, again):
        keys = keys_of_rows(forbidden, rows, n_items)
        positions[rows], scores[rows] = exact_top_k(queries[rows], matrix, k, keys, largest_norm, spare * 8)
    return positions, scores


def _settled(
    queries: np.ndarray,
    matrix: np.ndarray,
    estimates: np.ndarray,
    candidates: np.ndarray,
    forbidden: np.ndarray,
    kept: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and scores [N, K] of the k best of the first `kept` allowed candidates [N, C]; a thread takes a share.

    estimates and candidates are left without what is forbidden, in their order.
    """

    def settle(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        estimated, named = estimates[start:stop], candidates[start:stop]
        forbid(named, keys_of_rows(forbidden, np.arange(start, stop), len(matrix)), len(matrix))
        _to_the_front(estimated, named)
        return rank(queries[start:stop], matrix, named[:, :kept], k)

    threads = faiss.omp_get_max_threads()
    if threads == 1:  # a thread of its own would have a heap of its own
        return settle(0, len(queries))
    edges = np.linspace(0, len(queries), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        positions, scores = zip(*pool.map(settle, edges[:-1], edges[1:]), strict=True)
    return np.concatenate(positions), np.concatenate(scores)


def _to_the_front(estimates: np.ndarray, candidates: np.ndarray) -> None:
    """Moves what is there of each row [N, C] before the -1s, whose estimates become -inf."""
    estimates[candidates == NO_ITEM] = -np.inf
    rows = np.flatnonzero((candidates == NO_ITEM).any(axis=1))
    order = np.argsort(candidates[rows] == NO_ITEM, axis=1, kind="stable")
    candidates[rows] = np.take_along_axis(candidates[rows], order, axis=1)
    estimates[rows] = np.take_along_axis(estimates[rows], order, axis=1)


def alike(widths: np.ndarray) -> list[np.ndarray]:
    """The rows [N] in groups, ascending, of which none is searched much wider than it asks for."""
    groups, left = [], np.arange(len(widths))
    while len(left):
        near = widths[left] <= WIDER * widths[left].min()
        groups.append(left[near])
        left = left[~near]
    return groups


def forbid(candidates: np.ndarray, forbidden: np.ndarray, n_items: int) -> None:
    """Put -1 in the place of the candidates [N, C] that are forbidden [P]."""
    if not len(forbidden):
        return
    rows, positions = np.divmod(forbidden, n_items)
    flags = np.zeros((len(candidates), FLAGS), dtype=bool)
    flags[rows, positions & (FLAGS - 1)] = True
    few = np.take_along_axis(flags, candidates & (FLAGS - 1), axis=1)
    rows, columns = np.nonzero(few)  # only these are looked up
    keys = np.where(candidates[rows, columns] == NO_ITEM, NO_ITEM, rows * n_items + candidates[rows, columns])
    found = forbidden[np.minimum(np.searchsorted(forbidden, keys), len(forbidden) - 1)] == keys
    candidates[rows[found], columns[found]] = NO_ITEM


def empty_results(n_queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, K] of -1 and scores [N, K] of -inf."""
    shape = (n_queries, k)
    return np.full(shape, NO_ITEM, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)


def rank(queries: np.ndarray, matrix: np.ndarray, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the candidates int64 [N, C] (-1 where there is none): positions [N, K], scores [N, K]."""
    exact = dot_products(queries, matrix, candidates)  # [N, C]
    order = np.argsort(-exact, axis=1, kind="stable")[:, : k + 1]  # one more shows whether the last is one of equals
    ordered = np.take_along_axis(exact, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    order = order[:, :k]  # [N, min(C, K)]
    order[tied] = np.lexsort((candidates[tied], -exact[tied]), axis=-1)[:, :k]
    positions, scores = empty_results(len(queries), k)
    positions[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    scores[:, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
    return positions, scores


def dot_products(queries: np.ndarray, matrix: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Scores float32 [N, C] of items at positions int64 [N, C]; -inf where that is -1.

    A score is the dot product in float64, rounded to float32: every backend gives an item the same one.
    """
    exact = np.empty(positions.shape, dtype=np.float32)  # [N, C]
    dim = matrix.shape[1]
    step = max(1, RANKED_VALUES // max(1, positions.shape[1] * dim))
    for start in range(0, len(positions), step):
        some = positions[start : start + step]  # [n, C]
        # a take of whole rows is several times the speed of an index; where none is, any row will do
        vectors = matrix.take(some.ravel(), axis=0, mode="clip").astype(np.float64).reshape(*some.shape, dim)
        asked = queries[start : start + step, :, None].astype(np.float64)  # [n, D, 1]
        exact[start : start + step] = np.matmul(vectors, asked)[:, :, 0]
    exact[positions == NO_ITEM] = -np.inf
    return exact


def _rounding(queries: np.ndarray, largest_norm: float) -> np.ndarray:
    """How far a float32 dot product of a query [N, D], and its rounded score, can be from the truth: [N]."""
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    return (queries.shape[1] + 4) * UNIT_ROUNDOFF * largest_norm * norms


def keys_of_rows(keys: np.ndarray, rows: np.ndarray, n_items: int) -> np.ndarray:
    """Those of the keys [P] that belong to `rows` (ascending), which are renumbered 0, 1, ..."""
    if not len(keys) or not len(rows):
        return keys[:0]
    if rows[-1] - rows[0] == len(rows) - 1:  # in a row: their keys are, too
        start, stop = np.searchsorted(keys, (rows[0] * n_items, (rows[-1] + 1) * n_items))
        return keys[start:stop] - rows[0] * n_items
    key_rows, positions = np.divmod(keys, n_items)
    renumbered = np.minimum(np.searchsorted(rows, key_rows), len(rows) - 1)
    kept = rows[renumbered] == key_rows
    return renumbered[kept] * n_items + positions[kept]
