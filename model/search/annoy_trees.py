"""Annoy's forest: grown, checked before it is opened, asked for neighbours.

Annoy's `load` checks nothing, and its search follows whatever child numbers the file holds. Its `dot` metric
is wrong in 1.17.3; between unit vectors `angular` gives the same order, so that is what is used.
"""

# Axes: N queries, I items, D dimensions, C candidates, T nodes of the file.
from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Literal

import annoy
import numpy as np

from model.vocabulary import NO_ITEM

METRIC: Literal["angular"] = "angular"
CHECKED_NODES = 16_384  # nodes looked at in one go: some 4 MB at D = 64


def grow_trees(matrix: np.ndarray, n_trees: int, seed: int) -> annoy.AnnoyIndex:
    """A forest over the rows of matrix float32 [I, D]; the same seed grows the same forest."""
    trees = annoy.AnnoyIndex(matrix.shape[1], METRIC)
    trees.set_seed(seed)
    for position, row in enumerate(matrix):
        trees.add_item(position, row)
    trees.build(n_trees, n_jobs=1)  # more threads would draw from several generators
    return trees


def open_trees(path: Path, matrix: np.ndarray) -> annoy.AnnoyIndex:
    """The forest in a file, memory-mapped. ValueError if it was not grown over exactly this matrix [I, D]."""
    check_trees(path, matrix)
    trees = annoy.AnnoyIndex(matrix.shape[1], METRIC)
    trees.load(str(path))
    return trees


def check_trees(path: Path, matrix: np.ndarray) -> None:
    """ValueError unless the file's first I nodes are the matrix' rows and all others lead down to them.

    A node is int32 [D + 3]: the number of items below it, two children (an item: its norm), a vector. A node
    with few items names them in place of all that. Children are written before their parents, roots last.
    """
    n_items, dimension = matrix.shape
    size, node_size = path.stat().st_size, 4 * (dimension + 3)
    if size % node_size or size // node_size <= n_items:
        raise ValueError(f"wants more than {n_items} nodes of {node_size} bytes, got {size} bytes")
    nodes = np.memmap(path, dtype=np.int32, mode="r").reshape(-1, dimension + 3)  # [T, D + 3]
    if nodes[-1, 0] != n_items:
        raise ValueError(f"wants trees over {n_items} items, got {nodes[-1, 0]}")
    for start in range(0, len(nodes), CHECKED_NODES):
        block = np.asarray(nodes[start : start + CHECKED_NODES])
        n_leading = min(max(n_items - start, 0), len(block))  # those of the block that are items
        _check_items(block[:n_leading], matrix[start : start + n_leading])
        _check_children(block[n_leading:], start + n_leading, n_items)


def _check_items(nodes: np.ndarray, rows: np.ndarray) -> None:
    if (nodes[:, 0] != 1).any() or not np.array_equal(nodes[:, 3:].view(np.float32), rows):
        raise ValueError("wants the trees' items to be the embeddings, got others")


def _check_children(nodes: np.ndarray, first: int, n_items: int) -> None:
    """The nodes from number `first` on name items, or two nodes of lower number: no ring, no way out."""
    below, children = nodes[:, 0], nodes[:, 1:]  # [T], [T, D + 2]
    few = below <= children.shape[1]  # it names the items below it, not two nodes
    named = np.arange(children.shape[1]) < np.where(few, below, 2)[:, None]  # [T, D + 2]
    limits = np.where(few, n_items, first + np.arange(len(nodes)))[:, None]  # [T, 1]
    if (below < 0).any() or (named & ((children < 0) | (children >= limits))).any():
        raise ValueError("wants children that come before their parents, got others")


def nearest(trees: annoy.AnnoyIndex, queries: np.ndarray, wanted: np.ndarray, search_k: int) -> np.ndarray:
    """About wanted [N] neighbours of each query [N, D], in no order: positions [N, C], -1 where there is none."""
    ask = trees.get_nns_by_vector
    found = [ask(query, n, search_k) for query, n in zip(queries.tolist(), wanted.tolist(), strict=True)]
    lengths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
    table = np.full((len(found), lengths.max(initial=0)), NO_ITEM, dtype=np.int64)  # [N, C]
    table[np.arange(table.shape[1]) < lengths[:, None]] = list(chain.from_iterable(found))
    return table
