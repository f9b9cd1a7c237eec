"""Annoy backend: a forest of random projection trees, which is checked before it is opened.

Annoy's `load` checks nothing, and its search follows any node number in the file, even one out of range. Its `dot`
metric is wrong in version 1.17.3; `angular` gives the same order for unit vectors and is used instead.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, T nodes of the file.
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import annoy
import numpy as np

from model.search.approximate_index import ApproximateIndex, IndexOptions
from model.search.checks import sorted_items
from model.vocabulary import NO_ITEM

TREES = "trees.ann"
CHECKED_NODES = 16_384  # nodes checked at once: about 4 MB at D = 64
MAX_NODES = 2**31 - 1  # Annoy counts nodes in 32 bits


@dataclass(frozen=True)
class AnnoyOptions(IndexOptions):
    """n_trees: trees of the forest; search_k: nodes that a query inspects."""

    n_trees: int = 50
    search_k: int = 5_000
    seed: int = 1
    MIN_VALUES: ClassVar[dict[str, int]] = {"n_trees": 1, "search_k": 1, "seed": 0}


class AnnoyIndex(ApproximateIndex):
    """Candidates come from a forest of random projection trees."""

    backend, budget_option = "annoy", "search_k"
    extra_files = (TREES,)

    def __init__(
        self,
        matrix: np.ndarray,
        item_indices: np.ndarray,
        model_version: str,
        options: AnnoyOptions,
        make_trees: Callable[[np.ndarray], annoy.AnnoyIndex],
    ) -> None:
        """make_trees: builds or opens the forest over a matrix; it is called once the matrix has been checked."""
        super().__init__(matrix, item_indices, model_version)
        self.options = options
        self.trees = make_trees(matrix)

    @classmethod
    def configured_options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"n_trees": settings["annoy_trees"]}

    @classmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: Any) -> Self:
        """As `ItemIndex.build`, with `AnnoyOptions`. Also raises ValueError unless all norms are 1 within 1e-3."""
        chosen = AnnoyOptions(**options)
        matrix, item_indices = sorted_items(embeddings, item_indices)
        return cls(matrix, item_indices, model_version, chosen, lambda matrix: grow_trees(matrix, chosen))

    @property
    def max_search_budget(self) -> int:
        return min(max(self.options.n_trees * len(self), 1), MAX_NODES)

    def nearest(self, queries: np.ndarray, counts: np.ndarray) -> np.ndarray:
        ask, search_k = self.trees.get_nns_by_vector, self.options.search_k
        found = [ask(query, n, search_k) for query, n in zip(queries.tolist(), counts.tolist(), strict=True)]
        lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        table = np.full((len(found), lengths.max(initial=0)), NO_ITEM, dtype=np.int64)  # [N, C]
        table[np.arange(table.shape[1]) < lengths[:, None]] = list(chain.from_iterable(found))
        return table

    def file_writers(self) -> dict[str, Callable[[Path], object]]:
        return {TREES: lambda path: self.trees.save(str(path))}

    @classmethod
    def from_files(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, options: dict[str, Any]
    ) -> Self:
        def make_trees(matrix: np.ndarray) -> annoy.AnnoyIndex:
            return open_trees(folder / TREES, matrix)

        return cls(matrix, item_indices, model_version, AnnoyOptions(**options), make_trees)


def grow_trees(matrix: np.ndarray, options: AnnoyOptions) -> annoy.AnnoyIndex:
    """A forest over the rows of matrix float32 [I, D]; the same seed grows the same forest."""
    trees = annoy.AnnoyIndex(matrix.shape[1], "angular")
    trees.set_seed(options.seed)
    for position, row in enumerate(matrix):
        trees.add_item(position, row)
    trees.build(options.n_trees, n_jobs=1)  # with more threads the forest would depend on their number
    return trees


def open_trees(path: Path, matrix: np.ndarray) -> annoy.AnnoyIndex:
    """The forest in a file, memory-mapped. Raises ValueError unless it was grown over exactly this matrix [I, D]."""
    check_trees(path, matrix)
    trees = annoy.AnnoyIndex(matrix.shape[1], "angular")
    trees.load(str(path))
    return trees


def check_trees(path: Path, matrix: np.ndarray) -> None:
    """Raise ValueError unless the file's first I nodes are the matrix's rows and all other nodes lead down to them.

    A node is int32 [D + 3]: the number of items below it, two children (or, for an item, its norm), and a vector. If it
    has at most D + 2 items below it, it lists their numbers instead of children and vector. Children are written before
    their parents, and the roots last.
    """
    n_items, dimension = matrix.shape
    size, node_size = path.stat().st_size, 4 * (dimension + 3)
    if size % node_size or size // node_size <= n_items:
        raise ValueError(f"{TREES} must hold more than {n_items} nodes of {node_size} bytes, got {size} bytes")
    nodes = np.memmap(path, dtype=np.int32, mode="r").reshape(-1, dimension + 3)  # [T, D + 3]
    if nodes[-1, 0] != n_items:
        raise ValueError(f"the trees must hold {n_items} items, got {nodes[-1, 0]}")
    for start in range(0, len(nodes), CHECKED_NODES):
        block = np.asarray(nodes[start : start + CHECKED_NODES])
        n_leading = min(max(n_items - start, 0), len(block))  # the nodes of the block that are items
        _check_items(block[:n_leading], matrix[start : start + n_leading])
        _check_children(block[n_leading:], start + n_leading, n_items)


def _check_items(nodes: np.ndarray, rows: np.ndarray) -> None:
    if (nodes[:, 0] != 1).any() or not np.array_equal(nodes[:, 3:].view(np.float32), rows):
        raise ValueError("the trees' items must be the embeddings, got others")


def _check_children(nodes: np.ndarray, first: int, n_items: int) -> None:
    """Raise ValueError unless each node lists items, or has two children with lower numbers than its own.

    So there is no cycle and no number out of range. first: the number of the first of `nodes`.
    """
    below, children = nodes[:, 0], nodes[:, 1:]  # [T], [T, D + 2]
    lists_items = below <= children.shape[1]
    used = np.arange(children.shape[1]) < np.where(lists_items, below, 2)[:, None]  # [T, D + 2]
    limits = np.where(lists_items, n_items, first + np.arange(len(nodes)))[:, None]  # [T, 1]
    if (below < 0).any() or (used & ((children < 0) | (children >= limits))).any():
        raise ValueError("the trees' children must come before their parents, got others")
