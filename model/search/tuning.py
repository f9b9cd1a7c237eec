"""How much an approximate index has to spend to find what an exact search finds, measured on a sample of queries."""

# Axes: N queries, D dimensions.
from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.metrics import shared_share
from model.ragged import of_lists
from model.search.approximate_index import ApproximateIndex
from model.search.item_index import ItemIndex

HALVINGS = 3  # between the last power of two that falls short and the first that does not


class RecallNotReached(ValueError):
    """No search budget of an index finds as much of the exact lists as was asked for."""


@dataclass(frozen=True)
class Sample:
    """Queries float32 [N, D], what to leave out of each (see `ItemIndex.search`), and how many results are wanted."""

    queries: np.ndarray
    excluded: tuple[np.ndarray, np.ndarray] | None
    k: int

    def __len__(self) -> int:
        return len(self.queries)

    def search(self, index: ItemIndex) -> tuple[np.ndarray, float]:
        """Items [N, K] and queries a second."""
        began = time.perf_counter()
        found, _ = index.search(self.queries, self.k, self.excluded)
        return found, len(self.queries) / max(time.perf_counter() - began, 1e-9)


def sample_of(users: pa.Table, k: int) -> Sample:
    """The rows (embedding, excluded) as a sample."""
    users = users.combine_chunks()
    queries = users["embedding"].combine_chunks().flatten().to_numpy().reshape(len(users), -1 if len(users) else 0)
    return Sample(queries, of_lists(users["excluded"].combine_chunks()), k)


def tuned(
    index: ApproximateIndex, wanted: np.ndarray, sample: Sample, target: float
) -> tuple[ApproximateIndex, float, float]:
    """The index with the smallest search budget that reaches the recall, that recall, and queries a second.

    wanted: the exact lists of the sample [N, K]. Rows that come out short, and would be searched exactly, count as they
    are, or a small search budget would look good. Raises RecallNotReached, which names the best recall reached.
    """

    def reached(search_budget: int) -> float:
        return shared_share(sample.search(index.with_search_budget(search_budget, fills=False))[0], wanted)

    low, high, most = 0, 1, index.max_search_budget
    recall = reached(high)
    while recall < target and high < most:
        low, high = high, min(high * 2, most)
        recall = reached(high)
    if recall < target:
        raise RecallNotReached(
            f"index {index.backend} finds {recall:.4f} of the exact lists at best ({index.budget_option} {high}); "
            f"index.recall_target is {target}"
        )
    for _ in range(HALVINGS):
        middle = (low + high) // 2
        if middle <= low:
            break
        if reached(middle) >= target:
            high = middle
        else:
            low = middle
    best = index.with_search_budget(high)
    found, speed = sample.search(best)
    return best, shared_share(found, wanted), speed
