"""Random catalogues of unit vectors, an index of each backend over them, and search by brute force."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from model.metrics import shared_share
from model.search.approximate_index import ApproximateIndex
from model.search.backends import BACKENDS as BACKEND_CLASSES
from model.search.backends import build_index
from model.search.item_index import ItemIndex
from model.search.sharded_index import IN_SHARDS, build_in_shards

BACKENDS = ["exact", "annoy", "ivf", "ivf in shards"]
THOROUGH: dict[str, dict[str, int]] = {
    "exact": {},
    "annoy": {"search_k": 100_000},
    "ivf": {"lists": 20, "probes": 20},
    "ivf in shards": {"lists": 7, "probes": 7},
}
SHARD_ITEMS = 90  # eight shards of a catalogue
N_ITEMS, DIMENSION = 700, 16
Pair = tuple[np.ndarray, np.ndarray]


def unit(rng: np.random.Generator, rows: int, dimension: int = DIMENSION) -> np.ndarray:
    vectors = rng.standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ragged(rows: list[list[int]]) -> Pair:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return np.array([item for row in rows for item in row], dtype=np.int64), offsets


def catalogue(seed: int = 0, n_items: int = N_ITEMS) -> Pair:
    """Embeddings, and unsorted item indices with gaps."""
    rng = np.random.default_rng(seed)
    return unit(rng, n_items), rng.choice(3 * n_items, n_items, replace=False).astype(np.int64)


def build(backend: str, embeddings: np.ndarray, items: np.ndarray, **options: int) -> ItemIndex:
    options = {"n_trees": 10, **options} if backend == "annoy" else options
    if backend.endswith(IN_SHARDS):
        kind = BACKEND_CLASSES.get(backend.removesuffix(IN_SHARDS))
        assert issubclass(kind, ApproximateIndex)
        folder = Path(tempfile.mkdtemp(prefix="batch-recall-test-shards-"))
        atexit.register(shutil.rmtree, folder)
        return build_in_shards(kind, embeddings, items, folder, SHARD_ITEMS, model_version="v1", **options)
    return build_index(backend, embeddings, items, model_version="v1", **options)


def brute_force(embeddings: np.ndarray, items: np.ndarray, queries: np.ndarray, k: int, excluded: Pair) -> Pair:
    """The definition of a search as one Python loop per query."""
    found = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    flat, offsets = excluded
    for row, query in enumerate(queries):
        banned = set(flat[offsets[row] : offsets[row + 1]].tolist())
        exact = (embeddings.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        pairs = sorted((-score, item) for score, item in zip(exact, items, strict=True) if item not in banned)
        for rank, (score, item) in enumerate(pairs[:k]):
            found[row, rank], scores[row, rank] = item, -score
    return found, scores


def some_exclusions(items: np.ndarray, queries: np.ndarray, embeddings: np.ndarray, n_best: int) -> Pair:
    """In turn, row by row: none; the best; all, or nearly all twice; some twice, and unknown items."""
    best = items[np.argsort(-(queries @ embeddings.T), axis=1)[:, :n_best]]
    kinds = [
        lambda row: [],
        lambda row: best[row].tolist(),
        lambda row: items.tolist() if row % 8 < 4 else items[5:].tolist() * 2,
        lambda row: [*best[row, :3].tolist(), *best[row, :3].tolist(), -1, 10**12, int(items.max()) + 1],
    ]
    return ragged([kinds[row % 4](row) for row in range(len(queries))])


def changed(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array[3] = value
    return array


def recall_against_exact(
    index: ItemIndex, exact: ItemIndex, queries: np.ndarray, k: int, excluded: Pair | None = None
) -> float:
    """The mean share of a query's exact results that `index` finds too, over queries with results; NaN if none has.

    Raises ValueError if `exact` is not exact, or if the two have different items.
    """
    if not exact.is_exact or not np.array_equal(index.item_indices, exact.item_indices):
        raise ValueError("exact must be an exact index over the items of the other one")
    found, expected = (one.search(queries, k, excluded)[0] for one in (index, exact))  # [N, K], [N, K]
    return shared_share(found, expected)
