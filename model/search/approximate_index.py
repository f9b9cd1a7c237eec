"""Indexes that look at a part of the items: Annoy's forest, and faiss's lists.

Both name candidates, which are then scored exactly; a row that would come out short is searched exactly.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs.
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import annoy
import numpy as np

from model.artifacts import index_files
from model.search import annoy_trees, ivf_lists
from model.search.item_index import ItemIndex, largest_norm, ordered_items
from model.search.top_k import alike, empty_results, exact_top_k, forbid, keys_of_rows, rank
from model.vocabulary import NO_ITEM

MOST_NODES = 2**31 - 1  # Annoy counts them in 32 bits


class ApproximateIndex(ItemIndex):
    """For unit vectors only. `search_budget` is what a search spends: more is slower and better."""

    is_exact = False
    budget_option: ClassVar[str]
    options: Any
    fills = True

    def with_search_budget(self, search_budget: int, *, fills: bool = True) -> Self:
        """The same index, searched with another search_budget; without `fills` rows that come out short stay so."""
        other = copy(self)
        other.options = replace(self.options, **{self.budget_option: search_budget})
        other.fills = fills
        return other

    @property
    def search_budget(self) -> int:
        return int(getattr(self.options, self.budget_option))

    @property
    @abstractmethod
    def max_search_budget(self) -> int:
        """More than this finds nothing more."""

    def _options(self) -> dict[str, int]:
        return asdict(self.options)

    @abstractmethod
    def _nearest(self, queries: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """About wanted [N] candidates of each query [N, D]: positions [N, max wanted], -1 where there is none."""

    def _search(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_items, n_queries = len(self), len(queries)
        n_forbidden = np.bincount(forbidden // n_items, minlength=n_queries)  # [N]
        wanted = np.minimum(k + n_forbidden, n_items)  # [N] enough for k once the forbidden ones are gone
        found, scores = empty_results(n_queries, k)  # [N, K], [N, K]
        for rows in alike(wanted):  # else one user with many exclusions would widen the search of all
            candidates = self._nearest(queries[rows], wanted[rows])  # [n, C]
            forbid(candidates, keys_of_rows(forbidden, rows, n_items), n_items)
            found[rows], scores[rows] = rank(queries[rows], self.matrix, candidates, k)
        due = np.minimum(k, n_items - n_forbidden)
        short = np.flatnonzero((found != NO_ITEM).sum(axis=1) < due)
        if short.size and self.fills:
            keys = keys_of_rows(forbidden, short, n_items)
            found[short], scores[short] = exact_top_k(queries[short], self.matrix, k, keys, self.largest_norm)
        return found, scores


def checked_numbers(options: object) -> None:
    """ValueError unless every field of an options class is a whole number from its lower bound on."""
    for name, least in type(options).LEAST.items():  # type: ignore[attr-defined]
        value = getattr(options, name)
        if type(value) is not int or not least <= value < 2**31:
            raise ValueError(f"{name} wants a whole number from {least} on, got {value!r}")


@dataclass(frozen=True)
class AnnoyOptions:
    """search_k: nodes looked at for a query."""

    n_trees: int = 50
    search_k: int = 5_000
    seed: int = 1
    LEAST: ClassVar[dict[str, int]] = {"n_trees": 1, "search_k": 1, "seed": 0}

    def __post_init__(self) -> None:
        checked_numbers(self)


class AnnoyIndex(ApproximateIndex):
    """Asks a forest of random cuts for candidates."""

    backend, metric, budget_option = "annoy", annoy_trees.METRIC, "search_k"
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

    @property
    def max_search_budget(self) -> int:
        return min(max(self.options.n_trees * len(self), 1), MOST_NODES)

    def _nearest(self, queries: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return annoy_trees.nearest(self.trees, queries, wanted, self.options.search_k)

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


@dataclass(frozen=True)
class IvfOptions:
    """lists: 0 takes some 4 sqrt(I); probes: lists that a search looks into."""

    lists: int = 0
    probes: int = 8
    seed: int = 1
    LEAST: ClassVar[dict[str, int]] = {"lists": 0, "probes": 1, "seed": 0}

    def __post_init__(self) -> None:
        checked_numbers(self)


class IvfIndex(ApproximateIndex):
    """Looks into the lists whose centroids are nearest to the query."""

    backend, metric, budget_option = "ivf", "angular", "probes"
    file_names = (*ItemIndex.file_names, "centroids.npy", "lists.npy")

    def __init__(
        self,
        matrix: np.ndarray,
        item_indices: np.ndarray,
        model_version: str,
        options: IvfOptions,
        centroids: np.ndarray,
        lists: np.ndarray,
    ) -> None:
        """centroids float32 [L, D], lists int32 [I]."""
        super().__init__(matrix, item_indices, model_version)
        ivf_lists.check_lists(centroids, lists)
        self.options, self.centroids, self.lists = options, centroids, lists
        self.filled = ivf_lists.fill_lists(matrix, centroids, lists)

    @classmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: int) -> IvfIndex:
        """As `ItemIndex.build`, with `IvfOptions`. ValueError too unless all norms are 1 within 1e-3."""
        matrix, item_indices = ordered_items(embeddings, item_indices)
        largest_norm(matrix, unit_norm=True)
        chosen = IvfOptions(**options)
        count = min(chosen.lists or int(4 * len(matrix) ** 0.5), max(len(matrix), 1))
        learnt = ivf_lists.learn_lists(matrix, count, chosen.seed)
        return cls(matrix, item_indices, model_version, chosen, *learnt)

    @property
    def max_search_budget(self) -> int:
        return len(self.centroids)

    def _nearest(self, queries: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return ivf_lists.nearest(self.filled, queries, int(wanted.max()), self.options.probes)

    def _writers(self) -> dict[str, Callable[[Path], object]]:
        kept = {"centroids.npy": self.centroids, "lists.npy": self.lists}
        return {**super()._writers(), **{name: index_files.write_array(array) for name, array in kept.items()}}

    @classmethod
    def _opened(cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, manifest: dict[str, Any]) -> IvfIndex:
        lists = index_files.read_array(folder / "lists.npy", np.int32, item_indices.shape)
        centroids = index_files.read_array(folder / "centroids.npy", np.float32, (None, matrix.shape[1]))
        options = IvfOptions(**manifest["options"])
        return cls(matrix, item_indices, manifest["model_version"], options, centroids, lists)
