"""Search for the items that score highest for a query: exact, Annoy and faiss's lists behind one interface.

    index = build_index("exact", embeddings, item_indices, model_version="3f2a")
    index.save(folder)
    item_indices, scores = load_index(folder, "3f2a").search(queries, 100, excluded=(flat, offsets))

All backends give an item the same score, never return an excluded one, and fill a row while items are left.
How many threads they use is the caller's choice: OMP_NUM_THREADS, set before numpy and torch are imported.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs.
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model.artifacts.index_files import IndexCorrupt, VersionMismatch, read_manifest
from model.metrics import shared_share
from model.search.approximate_index import AnnoyIndex, AnnoyOptions, ApproximateIndex, IvfIndex, IvfOptions
from model.search.item_index import ItemIndex, ordered_items
from model.search.top_k import exact_top_k

__all__ = [
    "AnnoyIndex",
    "AnnoyOptions",
    "ApproximateIndex",
    "ExactIndex",
    "IndexCorrupt",
    "ItemIndex",
    "IvfIndex",
    "IvfOptions",
    "VersionMismatch",
    "build_index",
    "load_index",
    "recall_against_exact",
]


class ExactIndex(ItemIndex):
    """Compares every query with every item."""

    backend, metric, is_exact = "exact", "dot", True

    @classmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str) -> ExactIndex:
        return cls(*ordered_items(embeddings, item_indices), model_version)

    def _search(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return exact_top_k(queries, self.matrix, k, forbidden, self.largest_norm)

    @classmethod
    def _opened(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, manifest: dict[str, Any]
    ) -> ExactIndex:
        return cls(matrix, item_indices, manifest["model_version"], **manifest["options"])


BACKENDS: dict[str, type[ItemIndex]] = {kind.backend: kind for kind in (ExactIndex, AnnoyIndex, IvfIndex)}


def build_index(
    backend: str, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: int
) -> ItemIndex:
    """An index of the named backend, with the options of its `build`. ValueError for an unknown name."""
    if backend not in BACKENDS:
        raise ValueError(f"index.backend wants one of {sorted(BACKENDS)}, got {backend!r}")
    return BACKENDS[backend].build(embeddings, item_indices, model_version=model_version, **options)


def load_index(folder: Path | str, expected_model_version: str | None = None) -> ItemIndex:
    """The index in a folder, of the class that its index.json names. Raises as `ItemIndex.load`."""
    backend = read_manifest(Path(folder))["backend"]
    if backend not in BACKENDS:
        raise IndexCorrupt(f"{folder}: wants a backend of {sorted(BACKENDS)}, got {backend!r}")
    return BACKENDS[backend].load(folder, expected_model_version)


def recall_against_exact(
    index: ItemIndex,
    exact: ItemIndex,
    queries: np.ndarray,
    k: int,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """The share of a query's exact results that `index` finds too, over queries that have any; NaN if none.

    Arguments as for `ItemIndex.search`. ValueError if `exact` is not exact or the two hold other items.
    """
    if not exact.is_exact or not np.array_equal(index.item_indices, exact.item_indices):
        raise ValueError("exact wants an exact index over the items of the other one")
    found, wanted = (one.search(queries, k, excluded)[0] for one in (index, exact))  # [N, K], [N, K]
    return shared_share(found, wanted)
