"""The exact top k of dot products, with the same result on every machine and without a matrix of all scores.

The rounding of a float32 matrix product depends on BLAS, block size and number of threads. So the product only selects
candidates (by faiss, while a tile of scores is in the cache), which are scored again in float64. If its rounding error,
which is bounded, could have hidden a better item, the row is searched again with more candidates. Many items of the
same vector, as those without a click that differ in nothing but their id, are searched as one.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs, G distinct vectors.
# The *position* of an item is its row of the matrix; the key of a (query, item) pair is query * I + position.
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np

from model.features.ragged import ranges
from model.features.repeated_rows import Repeats
from model.vocabulary import NO_ITEM

VALUES_AT_ONCE = 1 << 19  # float64 values scored at once: 4 MB, which fits in the cache
FLAGS = 4_096  # per query; a power of two, because a candidate's flag is found by the low bits of its position
SPARE = 4  # candidates beyond k; with them the first search is nearly always sufficient
MAX_WIDTH_RATIO = 4  # largest ratio between the numbers of candidates of rows that are searched together
EXPANDED_AT_ONCE = 1 << 22  # items of distinct vectors, at most
UNIT_ROUNDOFF = 2.0**-24  # of float32
NOTHING = np.empty(0, dtype=np.int64)
# by default, faiss 1.15 uses a kernel with a third of the speed of its matrix product below 2,000 queries
faiss.cvar.distance_compute_blas_threshold = 20
# a tile of 8 MB instead of 16, longer along the items: 1.1 to 1.3 times the speed (benchmarks/serving/search.py)
faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs = 1_024, 2_048


def exact_top_k(
    queries: np.ndarray,
    matrix: np.ndarray,
    k: int,
    forbidden: np.ndarray,
    largest_norm: float,
    repeats: Callable[[], Repeats | None] = lambda: None,
    spare: int = SPARE,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 [N, K] and scores float32 [N, K], best first, equal scores by position.

    queries float32 [N, D]; matrix float32 [I, D], I > 0; forbidden int64 [P]: ascending keys of pairs;
    largest_norm: of the rows of the matrix; repeats: returns `find_repeats(matrix)`, is called only if two searches
    were not enough; spare: candidates beyond k. Rows with fewer results end with position -1 and score -inf.
    """
    n_items = len(matrix)
    widths = np.minimum(k + spare + np.bincount(forbidden // n_items, minlength=len(queries)), n_items)  # [N]
    positions, scores = empty_results(len(queries), k)
    is_zero, uncertain = ~queries.any(axis=1), []  # [N], as of users about whom nothing is known: all scores are 0
    for rows in groups_of_similar_width(widths):
        width = int(widths[rows].max())
        zeros, rows = rows[is_zero[rows]], rows[~is_zero[rows]]
        if len(zeros):
            first = np.tile(np.arange(width), (len(zeros), 1))
            remove_forbidden(first, keys_of_rows(forbidden, zeros, n_items), n_items)
            positions[zeros], scores[zeros] = rank_candidates(queries[zeros], matrix, first, k)
        if not len(rows):
            continue
        estimates, candidates = faiss.knn(queries[rows], matrix, width, metric=faiss.METRIC_INNER_PRODUCT)  # [n, C]
        count, keys = min(k + spare, width), keys_of_rows(forbidden, rows, n_items)
        positions[rows], scores[rows] = _rescored(queries[rows], matrix, estimates, candidates, keys, count, k)
        slack = _rounding_error(queries[rows], largest_norm)  # [n]
        if count < n_items:
            uncertain.append(rows[estimates[:, count - 1] + slack >= scores[rows, k - 1]])
    for rows in filter(len, uncertain):
        keys, known = keys_of_rows(forbidden, rows, n_items), repeats() if spare > SPARE else None
        if known is None:
            found = exact_top_k(queries[rows], matrix, k, keys, largest_norm, repeats, spare * 8)
        else:
            found = _top_k_of_repeats(queries[rows], known, k, keys, largest_norm)
        positions[rows], scores[rows] = found
    return positions, scores


def _top_k_of_repeats(
    queries: np.ndarray, repeats: Repeats, k: int, forbidden: np.ndarray, largest_norm: float
) -> tuple[np.ndarray, np.ndarray]:
    """`exact_top_k` by a search of the distinct vectors; of each, only so many items as a row needs are considered."""
    n_items, sizes = len(repeats.items), np.diff(repeats.starts)
    positions, scores = empty_results(len(queries), k)
    needed = k + np.bincount(forbidden // n_items, minlength=len(queries))  # [N], items with the forbidden ones
    for group in groups_of_similar_width(needed):
        width = int(needed[group].max())
        for rows in np.array_split(group, -(-len(group) * width**2 // EXPANDED_AT_ONCE)):
            vectors, of_vectors = exact_top_k(
                queries[rows], repeats.vectors, width, NOTHING, largest_norm
            )  # [n, width]
            taken = np.where(vectors == NO_ITEM, 0, np.minimum(sizes[vectors], width))  # items of each vector
            before = taken.cumsum(axis=1) - taken
            lowest = np.where(before < width, of_vectors, np.inf).min(axis=1)  # [n]: lower scores are not needed
            row, column = np.nonzero((of_vectors >= lowest[:, None]) & (taken > 0))
            each = taken[row, column]
            items = repeats.items[ranges(repeats.starts[vectors[row, column]], each)]
            owner, found = np.repeat(row, each), np.repeat(of_vectors[row, column], each)
            order = np.lexsort((items, -found, owner))
            order = order[~np.isin((owner * n_items + items)[order], keys_of_rows(forbidden, rows, n_items))]
            owner, items, found = owner[order], items[order], found[order]
            place = np.arange(len(owner)) - np.searchsorted(owner, owner)  # within the row
            best = place < k
            positions[rows[owner[best]], place[best]] = items[best]
            scores[rows[owner[best]], place[best]] = found[best]
    return positions, scores


def _rescored(
    queries: np.ndarray,
    matrix: np.ndarray,
    estimates: np.ndarray,
    candidates: np.ndarray,
    forbidden: np.ndarray,
    count: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and scores [N, K] of the k best of the first `count` allowed candidates [N, C].

    Removes the forbidden candidates from `estimates` and `candidates` in place. Queries are divided among threads.
    """

    def rescore(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        estimated, named = estimates[start:stop], candidates[start:stop]
        remove_forbidden(named, keys_of_rows(forbidden, np.arange(start, stop), len(matrix)), len(matrix))
        _move_missing_last(estimated, named)
        return rank_candidates(queries[start:stop], matrix, named[:, :count], k)

    threads = faiss.omp_get_max_threads()
    if threads == 1:  # a thread pool would use a second memory arena
        return rescore(0, len(queries))
    edges = np.linspace(0, len(queries), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        positions, scores = zip(*pool.map(rescore, edges[:-1], edges[1:]), strict=True)
    return np.concatenate(positions), np.concatenate(scores)


def _move_missing_last(estimates: np.ndarray, candidates: np.ndarray) -> None:
    """Move the -1s in each row of candidates [N, C] to its end, in place; their estimates become -inf."""
    estimates[candidates == NO_ITEM] = -np.inf
    rows = np.flatnonzero((candidates == NO_ITEM).any(axis=1))
    order = np.argsort(candidates[rows] == NO_ITEM, axis=1, kind="stable")
    candidates[rows] = np.take_along_axis(candidates[rows], order, axis=1)
    estimates[rows] = np.take_along_axis(estimates[rows], order, axis=1)


def groups_of_similar_width(widths: np.ndarray) -> list[np.ndarray]:
    """Groups of row numbers, ascending, whose widths [N] differ by at most the factor MAX_WIDTH_RATIO."""
    groups, remaining = [], np.arange(len(widths))
    while len(remaining):
        similar = widths[remaining] <= MAX_WIDTH_RATIO * widths[remaining].min()
        groups.append(remaining[similar])
        remaining = remaining[~similar]
    return groups


def remove_forbidden(candidates: np.ndarray, forbidden: np.ndarray, n_items: int) -> None:
    """Replace each candidate [N, C] whose key is in `forbidden` [P] by -1, in place."""
    if not len(forbidden):
        return
    rows, positions = np.divmod(forbidden, n_items)
    flags = np.zeros((len(candidates), FLAGS), dtype=bool)
    flags[rows, positions & (FLAGS - 1)] = True
    possible = np.take_along_axis(flags, candidates & (FLAGS - 1), axis=1)  # few, as most flags are not set
    rows, columns = np.nonzero(possible)  # only these are looked up
    keys = np.where(candidates[rows, columns] == NO_ITEM, NO_ITEM, rows * n_items + candidates[rows, columns])
    found = forbidden[np.minimum(np.searchsorted(forbidden, keys), len(forbidden) - 1)] == keys
    candidates[rows[found], columns[found]] = NO_ITEM


def empty_results(n_queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, K] of -1 and scores [N, K] of -inf."""
    shape = (n_queries, k)
    return np.full(shape, NO_ITEM, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)


def rank_candidates(
    queries: np.ndarray, matrix: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, K] and exact scores [N, K] of the k best of the candidates int64 [N, C], -1 for none."""
    exact = dot_products(queries, matrix, candidates)  # [N, C]
    order = np.argsort(-exact, axis=1, kind="stable")[:, : k + 1]  # one more shows whether the last one is tied
    ordered = np.take_along_axis(exact, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    order = order[:, :k]  # [N, min(C, K)]
    order[tied] = np.lexsort((candidates[tied], -exact[tied]), axis=-1)[:, :k]
    positions, scores = empty_results(len(queries), k)
    positions[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    scores[:, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
    return positions, scores


def dot_products(queries: np.ndarray, matrix: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Scores float32 [N, C] of the items at positions int64 [N, C]; -inf where the position is -1.

    A score is the dot product in float64, rounded to float32, so every backend gives an item the same score.
    """
    exact = np.empty(positions.shape, dtype=np.float32)  # [N, C]
    dim = matrix.shape[1]
    step = max(1, VALUES_AT_ONCE // max(1, positions.shape[1] * dim))
    for start in range(0, len(positions), step):
        some = positions[start : start + step]  # [n, C]
        # `take` of whole rows is several times as fast as indexing; a -1 takes some row, whose score is replaced below
        vectors = matrix.take(some.ravel(), axis=0, mode="clip").astype(np.float64).reshape(*some.shape, dim)
        asked = queries[start : start + step, :, None].astype(np.float64)  # [n, D, 1]
        exact[start : start + step] = np.matmul(vectors, asked)[:, :, 0]
    exact[positions == NO_ITEM] = -np.inf
    return exact


def _rounding_error(queries: np.ndarray, largest_norm: float) -> np.ndarray:
    """An upper bound [N], for each query [N, D], on the error of a float32 dot product plus that of a rounded score."""
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    return (queries.shape[1] + 4) * UNIT_ROUNDOFF * largest_norm * norms


def keys_of_rows(keys: np.ndarray, rows: np.ndarray, n_items: int) -> np.ndarray:
    """Those of the keys [P] that belong to `rows` (ascending), with the rows renumbered from 0."""
    if not len(keys) or not len(rows):
        return keys[:0]
    if rows[-1] - rows[0] == len(rows) - 1:  # consecutive rows have consecutive keys
        start, stop = np.searchsorted(keys, (rows[0] * n_items, (rows[-1] + 1) * n_items))
        return keys[start:stop] - rows[0] * n_items
    key_rows, positions = np.divmod(keys, n_items)
    renumbered = np.minimum(np.searchsorted(rows, key_rows), len(rows) - 1)
    selected = rows[renumbered] == key_rows
    return renumbered[selected] * n_items + positions[selected]
