"""Finds the smallest search budget with which an approximate index reaches a recall on a sample of queries."""

# Axes: N users, Q interests of a user, D dimensions, K results.
from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.features.ragged import of_lists
from model.metrics import shared_share
from model.search.approximate_index import ApproximateIndex
from model.search.interests import queries_of
from model.search.item_index import ItemIndex

BISECTIONS = 3  # between the last power of two that misses the recall and the first that reaches it


class RecallNotReached(ValueError):
    """An index finds a smaller share of the exact results than required."""


@dataclass(frozen=True)
class Sample:
    """Embeddings of users float32 [N, Q D], their exclusions (see `ItemIndex.search`), and the number of results."""

    queries: np.ndarray
    excluded: tuple[np.ndarray, np.ndarray] | None
    k: int

    def __len__(self) -> int:
        return len(self.queries)

    def search(self, index: ItemIndex) -> tuple[np.ndarray, float]:
        """The items found [N, K], and users per second, without what it takes to open parts of the index."""
        began, opened = time.perf_counter(), index.seconds_opening
        found, _ = index.search(queries_of(self.queries, index.dimension), self.k, self.excluded)
        seconds = time.perf_counter() - began - (index.seconds_opening - opened)
        return found, len(self.queries) / max(seconds, 1e-9)


def sample_from(users: pa.Table, k: int) -> Sample:
    """A sample of users; users: a table with the columns `embedding` and `excluded`; k: the number of results."""
    users = users.combine_chunks()
    queries = users["embedding"].combine_chunks().flatten().to_numpy().reshape(len(users), -1 if len(users) else 0)
    return Sample(queries, of_lists(users["excluded"].combine_chunks()), k)


def tune(
    index: ApproximateIndex, exact: np.ndarray, sample: Sample, min_recall: float
) -> tuple[ApproximateIndex, float, float]:
    """The index with the smallest search budget that reaches the recall, its recall, and its queries per second.

    exact: the exact results of the sample [N, K]. During the search for the budget, rows with too few results are not
    completed by an exact search, which would make a budget look sufficient that is too small. Raises RecallNotReached,
    with the recall of the largest budget.
    """

    def recall_at(search_budget: int) -> float:
        found, _ = sample.search(index.with_search_budget(search_budget, completes_rows=False))
        return shared_share(found, exact)

    low, high, largest = 0, 1, index.max_search_budget
    recall = recall_at(high)
    while recall < min_recall and high < largest:
        low, high = high, min(high * 2, largest)
        recall = recall_at(high)
    if recall < min_recall:
        raise RecallNotReached(
            f"index {index.backend} finds at most {recall:.4f} of the exact lists ({index.budget_option} {high}); "
            f"index.recall_target is {min_recall}"
        )
    for _ in range(BISECTIONS):
        middle = (low + high) // 2
        if middle <= low:
            break
        if recall_at(middle) >= min_recall:
            high = middle
        else:
            low = middle
    best = index.with_search_budget(high)
    found, queries_per_second = sample.search(best)
    return best, shared_share(found, exact), queries_per_second
