"""Rows of unequal length as two arrays, which is how Arrow keeps a list column."""

# Axes: N rows, E elements of all rows together.
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Ragged(NamedTuple):
    """Row n is `flat[offsets[n]:offsets[n + 1]]`. A plain (flat, offsets) tuple serves as well."""

    flat: np.ndarray  # int64 [E]
    offsets: np.ndarray  # int64 [N + 1]


def of_lists(lists: pa.ListArray) -> Ragged:
    """A list column, whole or a slice of one, as int64; its offsets start at 0."""
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return Ragged(lists.flatten().to_numpy().astype(np.int64), offsets - offsets[0])


def checked_ragged(pair: tuple[np.ndarray, np.ndarray], n_rows: int, name: str) -> Ragged:
    """The pair as int64 arrays. ValueError, with `name`, unless it holds exactly `n_rows` rows.

    Offsets need not start at 0: those of a sliced Arrow column do not.
    """
    flat, offsets = (np.asarray(part) for part in pair)
    for part in (flat, offsets):
        if part.ndim != 1 or (part.size and not np.issubdtype(part.dtype, np.integer)):
            raise ValueError(f"{name} wants flat arrays of integers, got {part.dtype} of shape {part.shape}")
    if len(offsets) != n_rows + 1:
        raise ValueError(f"{name} wants {n_rows + 1} offsets for {n_rows} rows, got {len(offsets)}")
    if offsets[0] < 0 or offsets[-1] > len(flat) or (np.diff(offsets) < 0).any():
        raise ValueError(f"{name} wants offsets that rise within 0 and {len(flat)}")
    return Ragged(flat.astype(np.int64, copy=False), offsets.astype(np.int64, copy=False))


def cut(ragged: Ragged, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """The elements of rows start to stop and the row of each, counted from `start`: two int64 [E]."""
    lengths = np.diff(ragged.offsets[start : stop + 1])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, ragged.flat[ragged.offsets[start] : ragged.offsets[stop]]


def among(items: np.ndarray, others: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Which of the items int64 [N, W] are among the others of their row: bool [N, W]. A -1 is only like a -1.

    others: [N, K], or [P] with the row of each in `rows` [P].
    """
    stride = max(items.max(initial=0), others.max(initial=0)) + 2  # so that a -1 is no item of the row before
    own = np.arange(len(items))[:, None] * stride
    return np.isin(own + items, (own if rows is None else rows * stride) + others)


def rows_of(ragged: Ragged, rows: np.ndarray) -> Ragged:
    """Those rows [R] of a ragged array, in that order."""
    starts, lengths = ragged.offsets[rows], np.diff(ragged.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Ragged(ragged.flat[np.repeat(starts, lengths) + inside], offsets)


def slots(rows: np.ndarray, n_rows: int) -> tuple[np.ndarray, int]:
    """The place of each element in its row, and the length of the longest row. `rows` [E] is ascending."""
    lengths = np.bincount(rows, minlength=n_rows)
    starts = np.cumsum(lengths) - lengths
    return np.arange(len(rows)) - np.repeat(starts, lengths), int(lengths.max(initial=0))
