"""Base of the backends that inspect only part of the items.

A backend finds candidates, which are then scored exactly. Queries with too few results are searched again, exactly.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query, K results, P (query, item) pairs.
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from model.search.item_index import ItemIndex
from model.search.top_k import (
    empty_results,
    exact_top_k,
    groups_of_similar_width,
    keys_of_rows,
    rank_candidates,
    remove_forbidden,
)
from model.vocabulary import NO_ITEM


@dataclass(frozen=True)
class IndexOptions:
    """Whole-number options of an index. Raises ValueError if one is below its smallest allowed value."""

    MIN_VALUES: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        for name, smallest in self.MIN_VALUES.items():
            value = getattr(self, name)
            if type(value) is not int or not smallest <= value < 2**31:
                raise ValueError(f"{name} must be a whole number of at least {smallest}, got {value!r}")


class ApproximateIndex(ItemIndex):
    """An index over unit vectors whose search budget trades speed for recall.

    A backend is a subclass that sets `budget_option`, the name of the option that is the search budget, and implements
    `nearest` and `max_search_budget`.
    """

    metric, is_exact = "angular", False
    budget_option: ClassVar[str]
    options: Any  # a subclass of IndexOptions
    completes_rows = True

    def with_search_budget(self, search_budget: int, *, completes_rows: bool = True) -> Self:
        """The same index with another search budget.

        With `completes_rows` false, queries with too few results are not searched again exactly.
        """
        other = copy(self)
        other.options = replace(self.options, **{self.budget_option: search_budget})
        other.completes_rows = completes_rows
        return other

    @property
    def search_budget(self) -> int:
        """How much a query may inspect, in the backend's own unit: a larger budget is slower and finds more."""
        return int(getattr(self.options, self.budget_option))

    @property
    @abstractmethod
    def max_search_budget(self) -> int:
        """The search budget beyond which no query finds more."""

    @abstractmethod
    def nearest(self, queries: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Positions int64 [N, C] of candidates for queries [N, D], in any order, -1 for none.

        counts [N]: about how many candidates each query needs.
        """

    def nearest_of_groups(
        self, queries: np.ndarray, counts: np.ndarray, groups: Sequence[np.ndarray]
    ) -> Iterable[np.ndarray]:
        """`nearest` for each group of rows of the queries [N, D] and of counts [N]."""
        return (self.nearest(queries[rows], counts[rows]) for rows in groups)

    def stored_options(self) -> dict[str, Any]:
        return asdict(self.options)

    def search_block(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_items, n_queries = len(self), len(queries)
        n_forbidden = np.bincount(forbidden // n_items, minlength=n_queries)  # [N]
        counts = np.minimum(k + n_forbidden, n_items)  # [N]: k are left after the forbidden ones are removed
        found, scores = empty_results(n_queries, k)  # [N, K], [N, K]
        groups = groups_of_similar_width(counts)  # a user with many exclusions must not widen the other searches
        for rows, candidates in zip(groups, self.nearest_of_groups(queries, counts, groups), strict=True):  # [n, C]
            remove_forbidden(candidates, keys_of_rows(forbidden, rows, n_items), n_items)
            found[rows], scores[rows] = rank_candidates(queries[rows], self.matrix, candidates, k)
        expected = np.minimum(k, n_items - n_forbidden)
        short = np.flatnonzero((found != NO_ITEM).sum(axis=1) < expected)
        if short.size and self.completes_rows:
            keys = keys_of_rows(forbidden, short, n_items)
            found[short], scores[short] = exact_top_k(
                queries[short], self.matrix, k, keys, self.largest_norm, lambda: self.repeats
            )
        return found, scores
