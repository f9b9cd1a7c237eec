"""Inverted-file backend (faiss IndexIVFFlat): each item is in the list of its centroid; a search inspects a few lists.

Only plain arrays are stored: the centroids and each item's list. faiss would not verify a file in its own format.
"""

# Axes: N queries, I items, D dimensions, L lists.
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import faiss
import numpy as np

from model.artifacts.array_files import array_writer, read_array
from model.search.approximate_index import ApproximateIndex, IndexOptions
from model.search.checks import largest_norm, sorted_items

CENTROIDS, LISTS = "centroids.npy", "lists.npy"
POINTS_PER_LIST = 64  # training points of k-means per list; more of them hardly move the centroids
ITERATIONS = 10
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class IvfOptions(IndexOptions):
    """lists: number of lists, 0 for about 4 sqrt(I); probes: lists that a query inspects."""

    lists: int = 0
    probes: int = 8
    seed: int = 1
    MIN_VALUES: ClassVar[dict[str, int]] = {"lists": 0, "probes": 1, "seed": 0}


class IvfIndex(ApproximateIndex):
    """Candidates come from the lists whose centroids are nearest to the query."""

    backend, budget_option = "ivf", "probes"
    extra_files = (CENTROIDS, LISTS)

    def __init__(
        self,
        matrix: np.ndarray,
        item_indices: np.ndarray,
        model_version: str,
        options: IvfOptions,
        centroids: np.ndarray,
        lists: np.ndarray,
    ) -> None:
        """centroids float32 [L, D]; lists int32 [I]: the list of each item."""
        super().__init__(matrix, item_indices, model_version)
        check_lists(centroids, lists)
        self.options, self.centroids, self.lists = options, centroids, lists
        self.faiss_index = fill_lists(matrix, centroids, lists)

    @classmethod
    def configured_options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"lists": settings["ivf_lists"]}

    @classmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: Any) -> Self:
        """As `ItemIndex.build`, with `IvfOptions`. Also raises ValueError unless all norms are 1 within 1e-3."""
        chosen = IvfOptions(**options)
        matrix, item_indices = sorted_items(embeddings, item_indices)
        largest_norm(matrix, unit_norm=True)  # before k-means sees a wrong vector
        count = min(chosen.lists or int(4 * len(matrix) ** 0.5), max(len(matrix), 1))
        return cls(matrix, item_indices, model_version, chosen, *learn_lists(matrix, count, chosen.seed))

    @property
    def max_search_budget(self) -> int:
        return len(self.centroids)

    def nearest(self, queries: np.ndarray, counts: np.ndarray) -> np.ndarray:
        parameters = faiss.SearchParametersIVF(nprobe=self.options.probes)  # type: ignore[call-arg]
        return self.faiss_index.search(np.ascontiguousarray(queries), int(counts.max()), params=parameters)[1]

    def file_writers(self) -> dict[str, Callable[[Path], object]]:
        return {CENTROIDS: array_writer(self.centroids), LISTS: array_writer(self.lists)}

    @classmethod
    def from_files(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, options: dict[str, Any]
    ) -> Self:
        lists = read_array(folder / LISTS, np.int32, item_indices.shape)
        centroids = read_array(folder / CENTROIDS, np.float32, (None, matrix.shape[1]))
        return cls(matrix, item_indices, model_version, IvfOptions(**options), centroids, lists)


def learn_lists(matrix: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids float32 [L, D] of unit norm and each row's list int32 [I]; the same seed gives the same result."""
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
    for rows in _blocks(len(matrix)):
        lists[rows] = kmeans.index.search(np.ascontiguousarray(matrix[rows]), 1)[1][:, 0]
    return np.asarray(kmeans.centroids, dtype=np.float32), lists


def check_lists(centroids: np.ndarray, lists: np.ndarray) -> None:
    """Raise ValueError unless the centroids are finite and every item's list exists."""
    if not len(centroids) or not np.isfinite(centroids).all():
        raise ValueError("centroids must be finite and at least one, got others")
    if lists.min(initial=0) < 0 or lists.max(initial=0) >= len(centroids):
        raise ValueError(f"lists must be from 0 to {len(centroids) - 1}, got {lists.min()} to {lists.max()}")


def fill_lists(matrix: np.ndarray, centroids: np.ndarray, lists: np.ndarray) -> faiss.IndexIVFFlat:
    """A faiss index over matrix [I, D] with each row in its list [I]; a row's id is its position.

    Rows are added list by list: in the order of the matrix every list would grow with each block, and faiss allocates
    up to twice of what a growing list needs.
    """
    quantizer = faiss.IndexFlatIP(matrix.shape[1])
    quantizer.add(np.ascontiguousarray(centroids))
    index = faiss.IndexIVFFlat(quantizer, matrix.shape[1], len(centroids), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    order = np.argsort(lists, kind="stable")  # int64 [I]
    for block in _blocks(len(matrix)):
        ids = order[block]
        rows, assigned = matrix[ids], lists[ids].astype(np.int64)
        index.add_core(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(ids), faiss.swig_ptr(assigned))
    return index


def _blocks(n_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + ROWS_AT_ONCE, n_rows)) for start in range(0, n_rows, ROWS_AT_ONCE))
