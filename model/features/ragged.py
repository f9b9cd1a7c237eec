"""Rows of unequal length as two arrays, the layout of an Arrow list column."""

# Axes: N rows, E elements of all rows together.
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Ragged(NamedTuple):
    """Row n is `flat[offsets[n]:offsets[n + 1]]`. A plain tuple (flat, offsets) can be used instead."""

    flat: np.ndarray  # int64 [E]
    offsets: np.ndarray  # int64 [N + 1]


def of_lists(lists: pa.ListArray) -> Ragged:
    """A list column, whole or a slice of one, as int64; its offsets start at 0."""
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return Ragged(lists.flatten().to_numpy().astype(np.int64), offsets - offsets[0])


def checked_ragged(pair: tuple[np.ndarray, np.ndarray], n_rows: int, name: str) -> Ragged:
    """The pair (flat, offsets) as int64 arrays. The first offset may be above 0, as in a sliced Arrow column.

    Raises ValueError, with `name`, unless both are flat arrays of integers, and the offsets ascend and give `n_rows`
    rows.
    """
    flat, offsets = (np.asarray(part) for part in pair)
    for part in (flat, offsets):
        if part.ndim != 1 or (part.size and not np.issubdtype(part.dtype, np.integer)):
            raise ValueError(f"{name} must be flat arrays of integers, got {part.dtype} of shape {part.shape}")
    if len(offsets) != n_rows + 1:
        raise ValueError(f"{name} must have {n_rows + 1} offsets for {n_rows} rows, got {len(offsets)}")
    if offsets[0] < 0 or offsets[-1] > len(flat) or (np.diff(offsets) < 0).any():
        raise ValueError(f"{name} must have ascending offsets from 0 to {len(flat)}, got {offsets[0]} to {offsets[-1]}")
    return Ragged(flat.astype(np.int64, copy=False), offsets.astype(np.int64, copy=False))


def cut(ragged: Ragged, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Of rows start to stop (exclusive): each element's row, counted from `start`, and the elements, int64 [E]."""
    lengths = np.diff(ragged.offsets[start : stop + 1])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, ragged.flat[ragged.offsets[start] : ragged.offsets[stop]]


def among(items: np.ndarray, others: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Whether each item int64 [N, W] is among the `others` of its row: bool [N, W]. A -1 equals only a -1.

    others: [N, K], or flat [E] with the row of each element in `rows` [E].
    """
    stride = max(items.max(initial=0), others.max(initial=0)) + 2  # + 2: no -1 equals an item of the row before
    own = np.arange(len(items))[:, None] * stride
    return np.isin(own + items, (own if rows is None else rows * stride) + others)


def rows_of(ragged: Ragged, rows: np.ndarray) -> Ragged:
    """The given rows [R] of a ragged array, in the order of `rows`."""
    starts, lengths = ragged.offsets[rows], np.diff(ragged.offsets)[rows]
    return Ragged(ragged.flat[ranges(starts, lengths)], np.append(0, np.cumsum(lengths)))


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """For each range [R] the integers start, start + 1, ..., so many as its length, one range after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)
