"""Which row of an embedding table an id has, if not every index of the vocabulary has a row of its own.

Axes: V rows of a table, N rows that two tables have in common.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.vocabulary import UNKNOWN

MAX_INDICES_PER_ROW = 16  # so that the map from indices to rows takes at most 64 bytes for each row of a table


class TableRows(nn.Module):
    """Finds the row of each index. All indices without a row of their own share that of UNKNOWN.

    `indices` is saved with the weights, so that every reader of the model finds the rows that training used.
    """

    def __init__(self, size: int) -> None:
        """size: V. The rows belong to the indices 0 to V - 1 until `assign` is called, or weights are loaded."""
        super().__init__()
        self.indices: Tensor
        self.register_buffer("indices", torch.arange(size, dtype=torch.int32))  # [V], ascending
        self._map: Tensor | None = None

    def assign(self, indices: Tensor) -> None:
        """Give the rows to these indices: [V], ascending, beginning with PADDING and UNKNOWN."""
        self.indices.copy_(indices)
        self._map = None

    def forward(self, indices: Tensor) -> Tensor:
        """Indices of the vocabulary, int64 of any shape -> rows of the table, int64 of the same shape."""
        if self._map is None or self._map.device != self.indices.device:
            self._map = self._row_by_index()
        if len(self._map):
            return self._map[indices.clamp(max=len(self._map) - 1)].long()
        wanted = indices.to(torch.int32)
        rows = torch.searchsorted(self.indices, wanted).clamp_(max=len(self.indices) - 1)
        return torch.where(self.indices[rows] == wanted, rows, UNKNOWN)

    def live(self, indices: Tensor) -> Tensor:
        """Indices that have a row of their own, and UNKNOWN for all others: int64 of any shape -> the same shape."""
        return self.indices[self(indices)].long()

    def _row_by_index(self) -> Tensor:
        """The row of each index up to the last live one, and of all later ones; empty if that would be a long list."""
        size, last = len(self.indices), int(self.indices[-1])
        if last >= MAX_INDICES_PER_ROW * size:
            return self.indices[:0]
        rows = self.indices.new_full((last + 2,), UNKNOWN)
        rows[self.indices.long()] = torch.arange(size, dtype=torch.int32, device=rows.device)
        return rows

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._map = None


def row_map_bytes(rows: int, indices: int) -> int:
    """The most bytes that a `TableRows` of `rows` rows takes for a vocabulary of so many indices: int32 values."""
    return 4 * (rows + min(indices, MAX_INDICES_PER_ROW * rows))


def common_rows(indices: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the indices that two tables share, in the one and in the other: [N] each.

    indices, others: of the rows of each table, ascending.
    """
    rows = torch.searchsorted(others, indices).clamp_(max=len(others) - 1)
    is_shared = others[rows] == indices
    return is_shared.nonzero()[:, 0], rows[is_shared]
