"""Ids in sorted order, found by binary search in the bytes of an Arrow array: no object for each id."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.vocabulary import UNKNOWN


class SortedIds:
    """Distinct ids, ascending by their bytes in UTF-8, which is the order of Python's str."""

    def __init__(self, values: pa.Array) -> None:
        """Raises ValueError if a value is null, or the values do not ascend."""
        self.values = values
        if values.null_count or not pc.all(pc.less(values[:-1], values[1:]), min_count=0).as_py():
            raise ValueError("ids must ascend, got some in another order, some twice or a null")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, position: int) -> str:
        return str(self.values[position].as_py())

    def position(self, value: str) -> int | None:
        """The position of an id; None if there is none."""
        found = bisect_left(self, value)
        return found if found < len(self) and self[found] == value else None


class Vocabulary:
    """The table row of each id or category that has a row of its own."""

    def __init__(self, ids: SortedIds, rows: np.ndarray) -> None:
        """rows: int [len(ids)]. Raises ValueError for another number of them."""
        if len(rows) != len(ids):
            raise ValueError(f"a vocabulary of {len(ids)} ids must have as many rows, got {len(rows)}")
        self.ids, self.rows = ids, rows

    def row(self, value: str) -> int:
        """The row of a value; UNKNOWN if it has none."""
        position = self.ids.position(value)
        return UNKNOWN if position is None else int(self.rows[position])
