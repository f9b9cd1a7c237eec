"""A world whose truth is known: latent factors, exposures and clicks, worked out from seeds alone on any machine.

Axis letters: R requests, P proposals of a request, S places of a slate, Z latent factors, N items, U users, G weights
and T times of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 2_000  # users drawn at once
AT_ONCE = 50  # users whose chances with every item are worked out at once
WEIGHTS, TIMES = 256, 400  # grid points on which the race for a place in the slate is worked out


@dataclass(frozen=True)
class World:
    """Sizes and parameters; every draw follows from `seed` and the ids."""

    users: int
    items: int
    seed: int
    factors: int = 8
    zipf: float = 1.0  # popularity of the item of rank r ~ r ** -zipf
    slate: int = 20  # places of a request
    proposals: int = 100  # items drawn by popularity, of which the policy shows the best
    taste: float = 2.0  # weight of the affinity in what the policy shows and in what is clicked
    examination: float = 0.6  # place r is looked at with probability r ** -examination
    click_bias: float = -1.5  # log-odds of a click on an item that is looked at, at affinity 0
    new_items_a_day: float = 0.005  # share of the catalogue
    dwell: float = 20.0  # seconds that a user stays with a clicked item of affinity 0, in the median
    dwell_growth: float = 0.5  # of the logarithm of the dwell time with the affinity; as much again is chance

    def describe(self) -> str:
        return (
            f"click model: P(click | place r, affinity a) = r^-{self.examination} * "
            f"sigmoid({self.click_bias} + {self.taste} a), affinity = <user, item> over {self.factors} latent factors; "
            f"a request proposes {self.proposals} items by popularity (Zipf {self.zipf}), "
            f"and shows {self.slate} of them, drawn by exp({self.taste} a); "
            f"reward of a click: {self.dwell} * exp({self.dwell_growth} (a + noise)) seconds"
        )

    def item_factors(self) -> np.ndarray:
        """[N, Z], rows of norm 1 around as many centres as there are factors."""
        return _directions(np.random.default_rng([self.seed, 1]), self.items, self.factors)

    def user_factors(self, numbers: np.ndarray) -> np.ndarray:
        """[U, Z] of norm 1, drawn in blocks of users, so that they are the same whatever partition asks."""
        found = np.empty((len(numbers), self.factors))
        for block in np.unique(numbers // BLOCK):
            own = numbers // BLOCK == block
            drawn = _directions(np.random.default_rng([self.seed, 2, int(block)]), BLOCK, self.factors)
            found[own] = drawn[numbers[own] % BLOCK]
        return found

    def popularity(self) -> np.ndarray:
        """[N], sums to 1; which item has which rank is shuffled."""
        ranks = np.random.default_rng([self.seed, 3]).permutation(self.items) + 1
        weights = ranks**-self.zipf
        return weights / weights.sum()

    def first_days(self) -> np.ndarray:
        """[N]: the day number on which an item appears; the catalogue of day 0 and then a few more every day."""
        fresh = np.random.default_rng([self.seed, 4]).random(self.items)
        return np.where(fresh < 0.7, 0, ((fresh - 0.7) / self.new_items_a_day).astype(int) + 1)

    def affinity(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """<user, item> scaled to a standard deviation of about 1: [..., N] for users [..., Z] and items [N, Z]."""
        return np.sqrt(self.factors) * users @ items.T

    def click_probability(self, affinity: np.ndarray) -> np.ndarray:
        """Of an item that is looked at."""
        return 1 / (1 + np.exp(-(self.click_bias + self.taste * affinity)))

    def dwell_seconds(self, affinity: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The reward of a click, in tenths of a second so that every machine's logarithms agree."""
        return np.round(self.dwell * np.exp(self.dwell_growth * (affinity + noise)), 1)

    def best_items(self, users: np.ndarray, day: int, k: int) -> np.ndarray:
        """Item numbers [U, k] by how often a request ends in a click: proposed, shown, looked at and liked."""
        there = np.flatnonzero(self.first_days() <= day)
        share = self.popularity()[there]
        proposed = 1 - (1 - share / share.sum()) ** self.proposals  # [N]
        factors, found = self.item_factors()[there], []
        for start in range(0, len(users), AT_ONCE):
            affinity = self.affinity(users[start : start + AT_ONCE], factors)  # [U, N]
            clicks = proposed * self.looked_at(self.taste * affinity, proposed) * self.click_probability(affinity)
            found.append(np.argsort(-clicks, axis=1)[:, :k])
        return there[np.concatenate(found)]

    def looked_at(self, log_weights: np.ndarray, proposed: np.ndarray) -> np.ndarray:
        """How likely an item is shown and looked at once it is proposed, by its log weight: [U, N].

        The slate takes the heaviest of perturbed weights, which is a race: an item of weight w arrives before time s
        with probability 1 - exp(-w s). s_r is when r items are expected to have arrived, each taking part as often as
        `proposed` [N] says; who arrives between s_{r-1} and s_r has place r.
        """
        limit = self.taste * np.sqrt(self.factors)  # of an affinity of vectors of norm 1
        grid = np.linspace(-limit, limit, WEIGHTS)  # [G]
        place = np.interp(log_weights, grid, np.arange(WEIGHTS))  # [U, N], where on the grid
        rows = np.arange(len(log_weights))[:, None] * WEIGHTS
        nearest = (rows + np.rint(place).astype(np.int64)).ravel()
        held = np.bincount(nearest, np.tile(proposed, len(log_weights)), rows.size * WEIGHTS).reshape(
            -1, WEIGHTS
        )  # [U, G]
        log_times = np.linspace(-grid[-1] - 12, -grid[0] + 12, TIMES)  # [T]
        absent = np.exp(-np.exp(grid[:, None] + log_times))  # [G, T]
        arrived = held.sum(axis=1, keepdims=True) - held @ absent  # [U, T], rises along T
        places = np.arange(1, self.slate + 1)
        examined = places**-self.examination
        chance = np.empty((len(held), WEIGHTS))  # [U, G]
        for user, so_far in enumerate(arrived):
            ends = np.exp(np.interp(places, so_far, log_times))  # [S]
            waiting = np.exp(-np.exp(grid[:, None]) * np.concatenate([[0.0], ends]))  # [G, S + 1]
            chance[user] = -np.diff(waiting, axis=1) @ examined
        lower = np.minimum(place.astype(np.int64), WEIGHTS - 2)  # [U, N]
        below, above = (np.take_along_axis(chance, lower + step, axis=1) for step in (0, 1))
        return below + (place - lower) * (above - below)


def _directions(random: np.random.Generator, n: int, factors: int) -> np.ndarray:
    centres = np.eye(factors)
    raw = centres[random.integers(factors, size=n)] + 0.35 * random.standard_normal((n, factors))
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def requests(world: World, user_numbers: np.ndarray, day: int) -> dict[str, np.ndarray]:
    """A request of each given user on a day, flat: user, item, position, clicked, second of the day, delay and dwell
    in seconds were it clicked, each [R * S]."""
    random = np.random.default_rng([world.seed, 5, day, int(user_numbers[0]) if len(user_numbers) else 0])
    there = np.flatnonzero(world.first_days() <= day)
    share = np.cumsum(world.popularity()[there])
    drawn = np.searchsorted(share / share[-1], random.random((len(user_numbers), world.proposals)), side="right")
    items = there[np.minimum(drawn, len(there) - 1)]  # [R, P]
    users = world.user_factors(user_numbers)  # [R, Z]
    affinity = np.sqrt(world.factors) * np.einsum("rz,rpz->rp", users, world.item_factors()[items])  # [R, P]
    shown = _slate(items, world.taste * affinity + random.gumbel(size=items.shape), world.slate)  # [R, S] places in P
    items, affinity = np.take_along_axis(items, shown, 1), np.take_along_axis(affinity, shown, 1)  # [R, S]
    looked_at = random.random(items.shape) < np.arange(1, world.slate + 1) ** -world.examination
    clicked = looked_at & (random.random(items.shape) < world.click_probability(affinity))
    seconds = np.repeat(random.integers(0, 86_000, size=(len(user_numbers), 1)), world.slate, axis=1)
    places = np.broadcast_to(np.arange(1, world.slate + 1), items.shape)
    return {
        "user": np.repeat(user_numbers, world.slate),
        "item": items.ravel(),
        "position": places.ravel(),
        "clicked": clicked.ravel(),
        "second": seconds.ravel(),
        "delay": random.integers(5, 600, size=items.size),
        "dwell": world.dwell_seconds(affinity.ravel(), random.standard_normal(items.size)),
    }


def _slate(items: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Places [R, S] of the `size` heaviest distinct items of each row [R, P], the first copy of each."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, 1)
    again = np.zeros_like(items, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return np.argsort(np.where(again, -np.inf, weights), axis=1)[:, ::-1][:, :size]
