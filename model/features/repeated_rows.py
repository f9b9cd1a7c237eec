"""Rows of a matrix that are equal, such as the vectors of items that differ in nothing but their id."""

# Axes: I rows, D columns, G distinct rows.
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model.features.ragged import Ragged, rows_of

MANY_REPEATS = 256  # from which it is worth knowing them
ROWS_AT_ONCE = 65_536


class Repeats(NamedTuple):
    """The distinct rows, and where each is: row g at the positions `items[starts[g]:starts[g + 1]]`, ascending."""

    vectors: np.ndarray  # float32 [G, D], by their first position
    items: np.ndarray  # int64 [I]
    starts: np.ndarray  # int64 [G + 1]


def find_repeats(matrix: np.ndarray) -> Repeats | None:
    """The distinct rows of a matrix float32 [I, D], I > 0; None if none is there at least MANY_REPEATS times."""
    factors = np.random.default_rng(0).integers(1 << 63, size=matrix.shape[1], dtype=np.uint64) * 2 + 1
    starts = range(0, len(matrix), ROWS_AT_ONCE)
    bits = (np.ascontiguousarray(matrix[start : start + ROWS_AT_ONCE]).view(np.uint32) for start in starts)
    hashes = np.concatenate([block.astype(np.uint64) @ factors for block in bits])  # [I]
    order = np.argsort(hashes, kind="stable")
    is_repeat = np.zeros(len(matrix), dtype=bool)  # equals the row before it in `order`
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    for some in np.array_split(same, -(-len(same) // ROWS_AT_ONCE) or 1):
        is_repeat[some + 1] = (matrix[order[some + 1]] == matrix[order[some]]).all(axis=1)
    edges = np.append(np.flatnonzero(~is_repeat), len(order))  # [G + 1], of each distinct vector in `order`
    if np.diff(edges).max() < MANY_REPEATS:
        return None
    first = order[edges[:-1]]
    items = rows_of(Ragged(order, edges), np.argsort(first))
    return Repeats(matrix[np.sort(first)], items.flat, items.offsets)
