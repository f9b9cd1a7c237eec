"""Items in lists around centroids, of which a search looks into a few (faiss, IndexIVFFlat).

What is kept are plain arrays: the centroids, and each item's list. A file of faiss's own is parsed on trust.
"""

# Axes: N queries, I items, D dimensions, L lists.
from __future__ import annotations

import faiss
import numpy as np

POINTS_PER_LIST = 64  # that k-means looks at: more moves the centroids by little
ITERATIONS = 10
AT_ONCE = 65_536


def learn_lists(matrix: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids float32 [L, D] of unit norm and each row's list int32 [I]; the same seed gives the same."""
    if not len(matrix):
        return np.zeros((1, matrix.shape[1]), dtype=np.float32), np.zeros(0, dtype=np.int32)
    points = POINTS_PER_LIST * count
    kmeans = faiss.Kmeans(
        matrix.shape[1], count, niter=ITERATIONS, seed=seed, spherical=True, max_points_per_centroid=POINTS_PER_LIST,
        min_points_per_centroid=1,
    )  # fmt: skip
    drawn = np.random.default_rng(seed).permutation(len(matrix))[: max(points, count)]
    kmeans.train(np.ascontiguousarray(matrix[np.sort(drawn)]))
    lists = np.empty(len(matrix), dtype=np.int32)
    for start, part in zip(range(0, len(matrix), AT_ONCE), blocks(matrix), strict=True):
        lists[start : start + len(part)] = kmeans.index.search(np.ascontiguousarray(part), 1)[1][:, 0]
    return np.asarray(kmeans.centroids, dtype=np.float32), lists


def blocks(matrix: np.ndarray) -> list[np.ndarray]:
    return [matrix[start : start + AT_ONCE] for start in range(0, len(matrix), AT_ONCE)]


def check_lists(centroids: np.ndarray, lists: np.ndarray) -> None:
    """ValueError unless the centroids are finite and every item's list is one of them."""
    if not len(centroids) or not np.isfinite(centroids).all():
        raise ValueError("wants centroids that are finite, got others")
    if lists.min(initial=0) < 0 or lists.max(initial=0) >= len(centroids):
        raise ValueError(f"wants lists of 0 to {len(centroids) - 1}, got {lists.min()} to {lists.max()}")


def fill_lists(matrix: np.ndarray, centroids: np.ndarray, lists: np.ndarray) -> faiss.IndexIVFFlat:
    """The rows of matrix [I, D] in their lists [I]; a row's id is its position."""
    quantizer = faiss.IndexFlatIP(matrix.shape[1])
    quantizer.add(np.ascontiguousarray(centroids))
    index = faiss.IndexIVFFlat(quantizer, matrix.shape[1], len(centroids), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    for start, part in zip(range(0, len(matrix), AT_ONCE), blocks(matrix), strict=True):
        rows = np.ascontiguousarray(part, dtype=np.float32)
        assigned = np.ascontiguousarray(lists[start : start + len(rows)], dtype=np.int64)
        index.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(assigned))
    return index


def nearest(index: faiss.IndexIVFFlat, queries: np.ndarray, wanted: int, probes: int) -> np.ndarray:
    """The `wanted` best of each query [N, D] in its `probes` nearest lists: positions [N, wanted], -1 at the end."""
    parameters = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
    return index.search(np.ascontiguousarray(queries), wanted, params=parameters)[1]
