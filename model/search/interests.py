"""Search with several queries a user: one for each interest, whose results are merged by the best score of an item."""

# Axes: N users, Q interests of a user, D dimensions, K results, C candidates of a user, I items.
from __future__ import annotations

from functools import reduce

import numpy as np

from model.search.top_k import dot_products, empty_results
from model.vocabulary import NO_ITEM


def queries_of(vectors: np.ndarray, dimension: int) -> np.ndarray:
    """Vectors float32 [N, Q D] as queries [N, Q, D], or [N, D] if Q is 1; dimension: D.

    Raises ValueError if a row does not hold whole vectors.
    """
    n_users, width = vectors.shape
    if width == dimension:
        return vectors
    if not width or width % dimension:
        raise ValueError(f"embeddings of users must hold vectors of dimension {dimension}, got {width} numbers")
    return vectors.reshape(n_users, -1, dimension)


def best_dot_products(queries: np.ndarray, matrix: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The scores of `dot_products`, for queries [N, D]; for queries [N, Q, D] each item's highest one."""
    if queries.ndim == 2:
        return dot_products(queries, matrix, positions)
    of_interests = (dot_products(queries[:, number], matrix, positions) for number in range(queries.shape[1]))
    best: np.ndarray = reduce(np.maximum, of_interests)
    return best


def merged_by_best_score(items: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best distinct items int64 [N, K] of each row of candidates, with the highest score of each, float32 [N, K].

    items int64 [N, C], -1 for none, and scores float32 [N, C]. Best first, equal scores by item, as in a search. Rows
    with fewer items end with -1 and -inf.
    """
    order = np.lexsort((-scores, items), axis=-1)  # an item's best score comes first
    items, scores = (np.take_along_axis(array, order, axis=1) for array in (items, scores))
    repeated = np.zeros(items.shape, dtype=bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    items, scores = np.where(repeated, NO_ITEM, items), np.where(repeated | (items == NO_ITEM), -np.inf, scores)
    best = np.lexsort((items, -scores), axis=-1)[:, :k]
    found, found_scores = empty_results(len(items), k)
    width = best.shape[1]
    found[:, :width] = np.take_along_axis(items, best, axis=1)
    found_scores[:, :width] = np.take_along_axis(scores, best, axis=1)
    return found, found_scores
