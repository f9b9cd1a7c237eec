"""Search for the items that score highest for a query: exact and Annoy behind one interface.

    index = build_index("exact", embeddings, item_indices, model_version="3f2a")
    index.save(folder)
    item_indices, scores = load_index(folder, "3f2a").search(queries, 100, excluded=(flat, offsets))

Both backends give an item the same score, never return an excluded one, and fill a row while items are left.
How many threads they use is the caller's choice: OMP_NUM_THREADS, set before numpy and torch are imported.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import annoy
import numpy as np

from model import annoy_trees
from model.index_files import IndexCorrupt, VersionMismatch, read_manifest
from model.item_index import ItemIndex, ordered_items
from model.ragged import slots
from model.top_k import MISSING, exact_top_k, keys_of_rows, rank

__all__ = [
    "AnnoyIndex",
    "AnnoyOptions",
    "ExactIndex",
    "IndexCorrupt",
    "ItemIndex",
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


@dataclass(frozen=True)
class AnnoyOptions:
    """search_k: nodes looked at for a query, more is slower and better; -1 is n_trees x wanted results."""

    n_trees: int = 50
    search_k: int = -1
    seed: int = 1

    def __post_init__(self) -> None:
        for name, fits, wanted in (
            ("n_trees", lambda n: n >= 1, "at least 1"),
            ("search_k", lambda n: n == -1 or n >= 1, "-1 or at least 1"),
            ("seed", lambda n: 0 <= n < 2**31, "0 to 2 ** 31 - 1"),
        ):
            value = getattr(self, name)
            if type(value) is not int or not fits(value):
                raise ValueError(f"{name} wants a whole number, {wanted}, got {value!r}")


class AnnoyIndex(ItemIndex):
    """Asks a forest of random cuts for candidates and scores those exactly. For unit vectors only."""

    backend, metric, is_exact = "annoy", annoy_trees.METRIC, False
    file_names = (*ItemIndex.file_names, "trees.ann")

    def __init__(
        self,
        matrix: np.ndarray,
        item_indices: np.ndarray,
        model_version: str,
        options: AnnoyOptions,
        make_trees: Callable[[], annoy.AnnoyIndex],
    ) -> None:
        super().__init__(matrix, item_indices, model_version)
        self.options = options
        self.trees = make_trees()  # once the vectors are known to be sound

    @classmethod
    def build(
        cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: int
    ) -> AnnoyIndex:
        """As `ItemIndex.build`, with `AnnoyOptions`. ValueError too unless all norms are 1 within 1e-3."""
        matrix, item_indices = ordered_items(embeddings, item_indices)
        chosen = AnnoyOptions(**options)
        grow = lambda: annoy_trees.grow_trees(matrix, chosen.n_trees, chosen.seed)  # noqa: E731
        return cls(matrix, item_indices, model_version, chosen, grow)

    def _search(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_items, n_queries = len(self), len(queries)
        n_forbidden = np.bincount(forbidden // n_items, minlength=n_queries)  # [N]
        wanted = np.minimum(k + n_forbidden, n_items)  # [N] enough for k once the forbidden ones are gone
        rows, positions = annoy_trees.nearest(self.trees, queries, wanted, self.options.search_k)  # [P], [P]
        allowed = ~np.isin(rows * n_items + positions, forbidden)
        candidates = by_row(rows[allowed], positions[allowed], n_queries)  # [N, C]
        found, scores = rank(queries, self.matrix, candidates, k)  # [N, K], [N, K]
        due = np.minimum(k, n_items - n_forbidden)
        short = np.flatnonzero((found != MISSING).sum(axis=1) < due)
        if short.size:
            keys = keys_of_rows(forbidden, short, n_items)
            found[short], scores[short] = exact_top_k(queries[short], self.matrix, k, keys, self.largest_norm)
        return found, scores

    def _options(self) -> dict[str, int]:
        return asdict(self.options)

    def _writers(self) -> dict[str, Callable[[Path], object]]:
        return {**super()._writers(), "trees.ann": lambda path: self.trees.save(str(path))}

    @classmethod
    def _opened(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, manifest: dict[str, Any]
    ) -> AnnoyIndex:
        def open_trees() -> annoy.AnnoyIndex:
            return annoy_trees.open_trees(folder / "trees.ann", matrix)

        options = AnnoyOptions(**manifest["options"])
        return cls(matrix, item_indices, manifest["model_version"], options, open_trees)


def by_row(rows: np.ndarray, positions: np.ndarray, n_rows: int) -> np.ndarray:
    """Positions int64 [P] of ascending rows [P] as [N, C], filled up with -1."""
    places, longest = slots(rows, n_rows)
    table = np.full((n_rows, longest), MISSING, dtype=np.int64)  # [N, C]
    table[rows, places] = positions
    return table


BACKENDS: dict[str, type[ItemIndex]] = {"exact": ExactIndex, "annoy": AnnoyIndex}


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
    stride = max(wanted.max(initial=0), found.max(initial=0)) + 2  # so that a -1 is no item of the row before
    rows = np.arange(len(wanted))[:, None] * stride  # [N, 1]
    n_hits = (np.isin(rows + wanted, rows + found) & (wanted != MISSING)).sum(axis=1)  # [N]
    n_wanted = (wanted != MISSING).sum(axis=1)
    asked = n_wanted > 0
    return float((n_hits[asked] / n_wanted[asked]).mean()) if asked.any() else float("nan")
