"""An index from outside the package, configured as "tests.extensions.my_index:SignBuckets"."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from model.search.item_index import ItemIndex
from model.search.top_k import rank_candidates, remove_forbidden

BUCKETS = "buckets.json"


class SignBuckets(ItemIndex):
    """Exact search, bucket by bucket; a bucket holds the items whose first `bits` components have the same signs."""

    metric, is_exact = "dot", True
    extra_files = (BUCKETS,)

    def __init__(self, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, bits: int = 2) -> None:
        super().__init__(matrix, item_indices, model_version)
        if not 1 <= bits <= matrix.shape[1]:
            raise ValueError(f"bits must be from 1 to {matrix.shape[1]}, got {bits}")
        self.bits = bits
        numbers = (matrix[:, :bits] > 0) @ (1 << np.arange(bits))  # [I]
        self.buckets = [np.flatnonzero(numbers == number) for number in range(1 << bits)]

    def search_block(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        candidates = np.tile(np.concatenate(self.buckets), (len(queries), 1))  # [N, I]
        remove_forbidden(candidates, forbidden, len(self))
        return rank_candidates(queries, self.matrix, candidates, k)

    def stored_options(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def file_writers(self) -> dict[str, Callable[[Path], object]]:
        return {BUCKETS: lambda path: path.write_text(json.dumps([bucket.tolist() for bucket in self.buckets]))}

    @classmethod
    def from_files(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, options: dict[str, Any]
    ) -> Self:
        index = cls(matrix, item_indices, model_version, **options)
        stored = json.loads((folder / BUCKETS).read_text())
        if stored != [bucket.tolist() for bucket in index.buckets]:
            raise ValueError(f"{BUCKETS} must hold the buckets of the vectors, got others")
        return index
