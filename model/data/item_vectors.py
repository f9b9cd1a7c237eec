"""Vectors of items from Parquet files into a file that is memory-mapped: a batch of them is in memory at a time."""

# Axes: I items, D dimensions.
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.data.parquet_files import ROWS_AT_ONCE, batches_of

ITEM_INDEX = "item_index"


def sorted_vectors(
    urls: Sequence[str], column: str, folder: Path, dimension: int, only: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors in a list column, sorted by item_index: float32 [I, D], memory-mapped, and item_indices int64 [I].

    Rows in which the column is null are left out; with `only`, those in which that Boolean column is false, too.
    folder: where the file of the vectors is written, which takes 4 I D bytes, twice that while it is sorted. In memory
    there are 16 bytes an item. Raises ValueError if a vector has another dimension.
    """
    path, found = folder / f"{column}.unsorted", [np.empty(0, dtype=np.int64)]
    with path.open("wb") as file:
        for batch in batches_of(urls, [ITEM_INDEX, column, *filter(None, [only])], ROWS_AT_ONCE):
            rows = batch.filter(batch.column(only)) if only else batch
            rows = rows.filter(rows.column(column).is_valid())
            file.write(_flat(rows.column(column), dimension).data)
            found.append(rows.column(ITEM_INDEX).to_numpy().astype(np.int64))
    item_indices = np.concatenate(found)
    order = np.argsort(item_indices, kind="stable")
    matrix = _mapped(path, (len(order), dimension))
    if not (np.diff(order) == 1).all():
        in_order = path.with_suffix(".sorted")
        with in_order.open("wb") as file:
            for start in range(0, len(order), ROWS_AT_ONCE):
                file.write(matrix[order[start : start + ROWS_AT_ONCE]].data)
        path.unlink()
        matrix = _mapped(in_order, (len(order), dimension))
    return matrix, item_indices[order]


def dimension_of(urls: Sequence[str], column: str) -> int:
    """The dimension of the first vector in a list column; 1 if there is none."""
    first = (batch.column(column) for batch in batches_of(urls, [column], 1))
    return next((len(values[0]) for values in first if values[0].is_valid), 1)


def _flat(vectors: pa.ListArray, dimension: int) -> np.ndarray:
    """The numbers float32 [I D] of vectors. Raises ValueError unless each has `dimension` of them."""
    lengths = vectors.value_lengths().to_numpy()
    if (wrong := lengths[lengths != dimension]).size:
        raise ValueError(f"vectors must have {dimension} dimensions, got {wrong[0]}")
    return np.ascontiguousarray(vectors.flatten().to_numpy(), dtype=np.float32)


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not shape[0]:  # an empty file cannot be mapped
        return np.empty(shape, dtype=np.float32)
    return np.memmap(path, dtype=np.float32, mode="r", shape=shape).view(np.ndarray)
