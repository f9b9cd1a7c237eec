"""A simulated log in which the probability that a user clicks an item is known, with users and items that are new.

Axes: U users, I items, N users that are asked for; users and items are numbered from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.worlds.click_log import ClickLog
from benchmarks.worlds.cold_logs import CLUSTER
from model.vocabulary import FIRST_INDEX

NEW_SHARES = {"next": 0.2, "last": 0.2}  # of the users: whose first click is on the next day, and on the last day
CLUSTERS = 20


@dataclass(frozen=True)
class Tastes:
    """What the users click. Item n is in cluster n modulo CLUSTERS."""

    home: np.ndarray  # [U] the cluster that a user prefers
    loyalty: np.ndarray  # [U] how likely a click is in that cluster
    weights: np.ndarray  # [I] how popular an item is; they sum to 1

    @classmethod
    def drawn(cls, users: int, items: int, rng: np.random.Generator) -> Tastes:
        weights = 1 / rng.permutation(np.arange(10, 10 + items)) ** 1.2
        return cls(rng.integers(0, CLUSTERS, users), rng.uniform(0.1, 0.95, users), weights / weights.sum())

    def probabilities(self, users: np.ndarray) -> np.ndarray:
        """That a click of each of these users [N] is on each item: [N, I]."""
        inside = np.arange(len(self.weights)) % CLUSTERS == self.home[users, None]  # [N, I]
        own = np.where(inside, self.weights, 0)
        loyalty = self.loyalty[users, None]
        return np.asarray(loyalty * own / own.sum(axis=1, keepdims=True) + (1 - loyalty) * self.weights)


@dataclass(frozen=True)
class KnownLog:
    """The clicks of a world: `log.relevant` are those of the next day, the last `last_day` clicks those of the last."""

    tastes: Tastes
    log: ClickLog
    last_day: int


def known_log(users: int, items: int, clicks: int, clicks_a_day: int = 5, seed: int = 0) -> KnownLog:
    """clicks: the mean number of clicks of an old user before the last day; clicks_a_day: on the last and next day."""
    rng = np.random.default_rng(seed)
    tastes, kind = Tastes.drawn(users, items, rng), rng.random(users)
    is_next = kind < NEW_SHARES["next"]
    is_new = kind < sum(NEW_SHARES.values())
    before = np.where(is_new, 0, 1 + rng.poisson(clicks, users))  # [U] numbers of clicks
    last = np.where(is_next, 0, clicks_a_day)
    drawn = [
        rng.choice(items, before[user] + last[user] + clicks_a_day, p=tastes.probabilities(np.array([user]))[0])
        for user in range(users)
    ]
    order = rng.permutation(before.sum())
    old = np.concatenate([found[:n] for found, n in zip(drawn, before, strict=True)])[order]
    recent = np.concatenate([found[n : n + m] for found, n, m in zip(drawn, before, last, strict=True)])
    clicker = np.concatenate([np.repeat(np.arange(users), before)[order], np.repeat(np.arange(users), last)])
    clicked = np.concatenate([old, recent])
    feature = np.arange(items) % CLUSTERS + FIRST_INDEX
    shown = np.bincount(clicked, minlength=items) + 1
    log = ClickLog(clicker, clicked, shown, [found[-clicks_a_day:] for found in drawn], {CLUSTER: feature})
    return KnownLog(tastes, log, int(last.sum()))
