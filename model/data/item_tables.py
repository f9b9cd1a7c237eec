"""Reads a pinned table with one row per item into tensors that are indexed by item.

Axis letters: B rows of a file, I indices of the item vocabulary, L length of a list feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from model.data.parquet_files import read_file
from model.data.pinned_files import PinnedFiles, RowCountMismatch
from model.features import FeatureSpec
from model.features.tensors import tensors

ITEM_INDEX = FeatureSpec("item_index", "id", 1, 1, "item_index", "item_id")


def item_table(pinned: PinnedFiles, features: Sequence[FeatureSpec], size: int) -> dict[str, Tensor]:
    """Each item feature by item index: [I] or [I, L]; items without a row have 0, or NaN for numbers.

    size: I. Raises RowCountMismatch if the files do not hold the pinned rows, and ValueError for an index that is not
    below `size` or that has two rows.
    """
    table: dict[str, Tensor] = {}
    for feature in features:
        shape = (size, feature.length) if feature.is_list else (size,)
        missing = torch.full(shape, torch.nan) if feature.holds_numbers else torch.zeros(shape, dtype=torch.int64)
        table[feature.name] = missing
    for index, rows in _rows_by_index(pinned, [feature.column for feature in features], size):
        for name, values in tensors(rows, features).items():
            table[name][index] = values
    return table


def item_column(pinned: PinnedFiles, column: str, size: int) -> Tensor:
    """A numeric column by item index: float64 [I], 0 for items without a row. Raises what `item_table` raises."""
    table = torch.zeros(size, dtype=torch.float64)  # [I]
    for index, rows in _rows_by_index(pinned, [column], size):
        table[index] = torch.from_numpy(rows[column].to_numpy().astype(np.float64))
    return table


def _rows_by_index(pinned: PinnedFiles, names: Sequence[str], size: int) -> Iterator[tuple[Tensor, pa.Table]]:
    """The item indices [B] and the named columns of each file. Raises what `item_table` raises."""
    counts = torch.zeros(size, dtype=torch.int64)  # [I]
    for file in pinned.files:
        rows = read_file(file, sorted({ITEM_INDEX.column, *names}))
        index = tensors(rows, [ITEM_INDEX])[ITEM_INDEX.name]  # [B]
        if len(index) and int(index.max()) >= size:
            raise ValueError(f"item indices must be below {size}, got {int(index.max())} in {file}")
        counts += torch.bincount(index, minlength=size)
        yield index, rows
    _require_rows(int(counts.sum()), pinned)
    if bool((counts > 1).any()):
        raise ValueError(f"each item must have one row, got {int(counts.max())} of item index {int(counts.argmax())}")


def _require_rows(rows: int, pinned: PinnedFiles) -> None:
    if rows != pinned.rows:
        raise RowCountMismatch(f"the files must hold the pinned version's {pinned.rows} rows, got {rows}")
