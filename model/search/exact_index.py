"""Exact search: compares every query with every item."""

from __future__ import annotations

import numpy as np

from model.search.item_index import ItemIndex
from model.search.top_k import exact_top_k


class ExactIndex(ItemIndex):
    """The reference for all other backends: it finds the best items of every query."""

    backend, metric, is_exact = "exact", "dot", True

    def search_block(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return exact_top_k(queries, self.matrix, k, forbidden, self.largest_norm, lambda: self.repeats)
