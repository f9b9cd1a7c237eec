"""Reads pinned tables of items into tensors that are indexed by item, and finds how items were on earlier days.

Axis letters: B rows of a file, C changes of items, I indices of the item vocabulary, L length of a list feature,
N items that are looked up.
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
EPOCH_DAY = FeatureSpec("epoch_day", "id", 1, 1, "epoch_day", None)  # of an example, or of an item's change


class ItemVersions:
    """Finds the row with an item's features as of a day, in a table whose first rows are the newest, by item index.

    The features of a day are those at the end of the day before. An item that was not known then has those with which
    it became known. The rows from I on are those before a change, in the order of the changes.
    """

    def __init__(self, size: int, items: Tensor | None = None, days: Tensor | None = None) -> None:
        """size: I. items [C], days [C]: which item changed on which day; none by default."""
        none = torch.empty(0, dtype=torch.int64)
        items, days = none if items is None else items, none if days is None else days
        self.size, self.items = size, items
        self.first, last = (int(days.min()), int(days.max())) if len(days) else (0, 0)
        self.span = last - self.first + 2  # days from the first change to the one after the last
        self.keys, self.order = (items * self.span + days - self.first).sort()  # [C] each
        if bool((self.keys[1:] == self.keys[:-1]).any()):
            raise ValueError("an item must have at most one change a day, got two")

    def to(self, device: torch.device) -> ItemVersions:
        """Look up items on this device from now on."""
        self.keys, self.order = self.keys.to(device), self.order.to(device)
        return self

    def rows(self, items: Tensor, days: Tensor) -> Tensor:
        """Item indices [N] and days [N] since 1970-01-01 -> rows of the table, [N]."""
        if not len(self.keys):
            return items
        key = items * self.span + (days - self.first).clamp(0, self.span - 1)  # [N]
        change = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)  # [N], the next one from the day on
        is_own = (self.keys[change] >= key) & (self.keys[change] // self.span == items)
        return torch.where(is_own, self.size + self.order[change], items)


def item_table(
    pinned: PinnedFiles, features: Sequence[FeatureSpec], size: int, changes: PinnedFiles | None = None
) -> dict[str, Tensor]:
    """Each item feature by item index: [I] or [I, L]; items without a row have 0, or NaN for numbers.

    size: I. changes: C further rows follow, [I + C] or [I + C, L], as `ItemVersions` finds them. Raises
    RowCountMismatch if the files do not hold the pinned rows, and ValueError for an index that is not below `size` or
    that has two rows in `pinned`.
    """
    table: dict[str, Tensor] = {}
    length = size + (changes.rows if changes else 0)
    for feature in features:
        shape = (length, feature.length) if feature.is_list else (length,)
        missing = torch.full(shape, torch.nan) if feature.holds_numbers else torch.zeros(shape, dtype=torch.int64)
        table[feature.name] = missing
    columns = [feature.column for feature in features]
    for index, rows in _rows_by_index(pinned, columns, size):
        for name, values in tensors(rows, features).items():
            table[name][index] = values
    start = size
    for index, rows in _rows(changes, columns, size) if changes else ():
        for name, values in tensors(rows, features).items():
            table[name][start : start + len(index)] = values
        start += len(index)
    return table


def item_versions(changes: PinnedFiles | None, size: int) -> ItemVersions:
    """Where `item_table` has the features before each change. Raises what `item_table` raises."""
    if changes is None:
        return ItemVersions(size)
    parts = [(index, tensors(rows, [EPOCH_DAY])[EPOCH_DAY.name]) for index, rows in _rows(changes, ["epoch_day"], size)]
    items, days = zip(*parts, strict=True)
    return ItemVersions(size, torch.cat(items), torch.cat(days))


def item_column(pinned: PinnedFiles, column: str, size: int) -> Tensor:
    """A numeric column by item index: float64 [I], 0 for items without a row. Raises what `item_table` raises."""
    table = torch.zeros(size, dtype=torch.float64)  # [I]
    for index, rows in _rows_by_index(pinned, [column], size):
        table[index] = torch.from_numpy(rows[column].to_numpy().astype(np.float64))
    return table


def _rows_by_index(pinned: PinnedFiles, names: Sequence[str], size: int) -> Iterator[tuple[Tensor, pa.Table]]:
    """The rows of a table with one row per item, as `_rows` yields them. Raises what `item_table` raises."""
    counts = torch.zeros(size, dtype=torch.int64)  # [I]
    for index, rows in _rows(pinned, names, size):
        counts += torch.bincount(index, minlength=size)
        yield index, rows
    if bool((counts > 1).any()):
        raise ValueError(f"each item must have one row, got {int(counts.max())} of item index {int(counts.argmax())}")


def _rows(pinned: PinnedFiles, names: Sequence[str], size: int) -> Iterator[tuple[Tensor, pa.Table]]:
    """The item indices [B] and the named columns of each file. Raises what `item_table` raises."""
    read = 0
    for file in pinned.files:
        rows = read_file(file, sorted({ITEM_INDEX.column, *names}))
        index = tensors(rows, [ITEM_INDEX])[ITEM_INDEX.name]  # [B]
        if len(index) and int(index.max()) >= size:
            raise ValueError(f"item indices must be below {size}, got {int(index.max())} in {file}")
        read += len(index)
        yield index, rows
    if read != pinned.rows:
        raise RowCountMismatch(f"the files must hold the pinned version's {pinned.rows} rows, got {read}")
