"""Held-out clicks and the rank that a model gives to each: metrics over them, and the difference of two models.

Axes: N clicks, U users.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

CUTOFFS = (10, 100)


def metrics_at(cutoffs: Iterable[int]) -> dict[str, Callable[[Tensor], Tensor]]:
    """The metrics of a click, each from its rank, counted from 0: recall@k for each k in `cutoffs`, ndcg and mrr."""
    recalls: dict[str, Callable[[Tensor], Tensor]] = {f"recall@{k}": partial(_is_within, k) for k in cutoffs}
    return {
        **recalls,
        "ndcg": lambda ranks: 1 / torch.log2(ranks + 2.0).double(),
        "mrr": lambda ranks: 1 / (ranks + 1.0).double(),
    }


def _is_within(k: int, ranks: Tensor) -> Tensor:
    return (ranks < k).double()


@dataclass(frozen=True)
class Difference:
    """The mean difference of a metric between two models on the same clicks.

    The standard error counts the clicks of a user as one observation, because they are not independent; it is infinite
    for fewer than two users.
    """

    mean: float
    standard_error: float

    def to_json(self) -> dict[str, float | None]:
        """The fields; the standard error is None if it is infinite, which JSON cannot express."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error if math.isfinite(self.standard_error) else None,
        }


@dataclass(frozen=True)
class RankedClicks:
    """Clicks in an order that only depends on the files and the seed, so that two models can be compared in pairs."""

    ranks: Tensor  # [N] int64, from 0, the best
    users: Tensor  # [N] int64, user indices
    cutoffs: tuple[int, int] = CUTOFFS  # list lengths of the recall, the shorter one first; they may be the same

    @property
    def selected_by(self) -> str:
        """The metric by which epochs are compared: recall at the longer length."""
        return f"recall@{self.cutoffs[1]}"

    def part(self, mask: Tensor) -> RankedClicks:
        """The clicks for which `mask` bool [N] is true."""
        return replace(self, ranks=self.ranks[mask], users=self.users[mask])

    def metrics(self) -> dict[str, float]:
        """The mean over the clicks of each of `metrics_at`; `user_recall@k`: the mean over users; `rows`: N."""
        if not len(self.ranks):
            return {"rows": 0.0}
        values = {name: metric(self.ranks) for name, metric in metrics_at(self.cutoffs).items()}
        found = {name: float(value.mean()) for name, value in values.items()}
        of_users = {f"user_{name}": self._mean_over_users(values[name]) for name in values if name.startswith("recall")}
        return {**found, **of_users, "rows": float(len(self.ranks))}

    def difference(self, other: RankedClicks, metric: str) -> Difference:
        """The metric of these ranks less that of `other`, which has the same clicks in the same order."""
        value = metrics_at(self.cutoffs)[metric]
        differences = value(self.ranks) - value(other.ranks)  # [N]
        mean = differences.mean()
        sums = self._sums_of_users(differences - mean)  # [U]
        if len(sums) < 2:
            return Difference(float(mean), math.inf)
        variance = sums.square().sum() * len(sums) / (len(sums) - 1)
        return Difference(float(mean), float(variance.sqrt()) / len(differences))

    def _mean_over_users(self, values: Tensor) -> float:
        return float((self._sums_of_users(values) / self._sums_of_users(torch.ones_like(values))).mean())

    def _sums_of_users(self, values: Tensor) -> Tensor:
        """Values of the clicks [N] -> their sum for each user [U]."""
        users, positions = self.users.unique(return_inverse=True)  # [U], [N]
        return values.new_zeros(len(users)).index_add_(0, positions, values)
