"""A simulated world: latent factors, exposures and clicks, all drawn from a seed, the same on every machine.

Axis letters: R requests, P proposed items of a request, S positions of a slate, Z latent factors, N items, U users,
G weights and T times of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

USERS_PER_BLOCK = 2_000  # users whose factors are drawn together
USERS_PER_CHUNK = 50  # users whose best items are computed together
ITEMS_PER_CHUNK = 2_048  # items whose weights are counted together
GRID_WEIGHTS, GRID_TIMES = 256, 400  # grid points on which the probability of a position is computed


@dataclass(frozen=True)
class World:
    """Sizes and parameters of a world. Every draw depends only on `seed` and on the ids concerned."""

    users: int
    items: int
    seed: int
    factors: int = 8
    zipf: float = 1.0  # popularity of the item of rank r ~ r ** -zipf
    slate: int = 20  # positions of a request
    proposals: int = 100  # items drawn by popularity, from which the policy chooses the slate
    taste: float = 2.0  # weight of the affinity, in the policy and in the click model
    examination: float = 0.6  # position r is examined with probability r ** -examination
    click_bias: float = -1.5  # log-odds of a click on an examined item of affinity 0
    new_items_a_day: float = 0.005  # share of all items that appears each day after day 0
    dwell: float = 20.0  # median dwell time on a clicked item of affinity 0, seconds
    dwell_growth: float = 0.5  # weight of the affinity, and of noise, in the log of the dwell time

    def describe(self) -> str:
        """The click model in words and formulas."""
        return (
            f"click model: P(click | position r, affinity a) = r^-{self.examination} * "
            f"sigmoid({self.click_bias} + {self.taste} a), affinity = <user, item> over {self.factors} latent factors; "
            f"a request proposes {self.proposals} items by popularity (Zipf {self.zipf}), "
            f"and shows {self.slate} of them, drawn by exp({self.taste} a); "
            f"reward of a click: {self.dwell} * exp({self.dwell_growth} (a + noise)) seconds"
        )

    def item_factors(self) -> np.ndarray:
        """Item factors [N, Z] of norm 1, clustered around Z centres."""
        return _clustered_directions(np.random.default_rng([self.seed, 1]), self.items, self.factors)

    def user_factors(self, numbers: np.ndarray) -> np.ndarray:
        """User factors [U, Z] of norm 1, drawn per block of users so that they do not depend on partitions."""
        result = np.empty((len(numbers), self.factors))
        for block in np.unique(numbers // USERS_PER_BLOCK):
            mask = numbers // USERS_PER_BLOCK == block
            random = np.random.default_rng([self.seed, 2, int(block)])
            drawn = _clustered_directions(random, USERS_PER_BLOCK, self.factors)
            result[mask] = drawn[numbers[mask] % USERS_PER_BLOCK]
        return result

    def popularity(self) -> np.ndarray:
        """Popularity [N], which sums to 1. Ranks are a random permutation of the items."""
        ranks = np.random.default_rng([self.seed, 3]).permutation(self.items) + 1
        weights = ranks**-self.zipf
        return weights / weights.sum()

    def first_days(self) -> np.ndarray:
        """The day number [N] on which each item appears: 70% on day 0, then a few every day."""
        draw = np.random.default_rng([self.seed, 4]).random(self.items)
        return np.where(draw < 0.7, 0, ((draw - 0.7) / self.new_items_a_day).astype(int) + 1)

    def affinity(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """<user, item> [..., N] for users [..., Z] and items [N, Z], scaled to a standard deviation of about 1."""
        return np.sqrt(self.factors) * users @ items.T

    def click_probability(self, affinity: np.ndarray) -> np.ndarray:
        """The probability of a click on an examined item."""
        return 1 / (1 + np.exp(-(self.click_bias + self.taste * affinity)))

    def dwell_seconds(self, affinity: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The reward of a click in seconds, rounded to tenths so that it is the same on every machine."""
        return np.round(self.dwell * np.exp(self.dwell_growth * (affinity + noise)), 1)

    def best_items(self, users: np.ndarray, day: int, k: int) -> np.ndarray:
        """The k items [U, k] with the most expected clicks per request, best first. users: their factors [U, Z]."""
        catalogue = np.flatnonzero(self.first_days() <= day)
        share = self.popularity()[catalogue]
        proposed = 1 - (1 - share / share.sum()) ** self.proposals  # [N]
        order = np.argsort(-proposed, kind="stable")
        catalogue, proposed = catalogue[order], proposed[order]
        factors, best = self.item_factors()[catalogue], []
        for start in range(0, len(users), USERS_PER_CHUNK):
            chunk = users[start : start + USERS_PER_CHUNK]
            best.append(self._best_of(chunk, factors, proposed, min(k, len(catalogue))))
        return catalogue[np.concatenate(best)]

    def _best_of(self, users: np.ndarray, factors: np.ndarray, proposed: np.ndarray, k: int) -> np.ndarray:
        """Which items [U, k] have the most expected clicks. factors [N, Z] and proposed [N]: the most popular first.

        Clicks are `proposed` times a factor that is largest at one end of the affinities. An item cannot be among the
        best k if it would have fewer clicks there than the k-th best of some items has.
        """
        examined = self.examined_on_grid(users, factors, proposed)  # [U, G]
        clicks = self._expected_clicks(users, factors[: 4 * k], proposed[: 4 * k], examined)
        kth = np.partition(clicks, -k, axis=1)[:, -k]  # [U]
        ends = np.sqrt(self.factors) * np.array([-1, 1])
        most = (examined[:, [0, -1]] * self.click_probability(ends)).max(axis=1)  # [U], of an item that is proposed
        n = int((proposed >= (kth / most).min() * (1 - 1e-9)).sum())
        clicks = self._expected_clicks(users, factors[:n], proposed[:n], examined)
        best = np.argpartition(-clicks, k - 1, axis=1)[:, :k]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(clicks, best, 1), axis=1), 1)

    def _expected_clicks(
        self, users: np.ndarray, factors: np.ndarray, proposed: np.ndarray, examined: np.ndarray
    ) -> np.ndarray:
        """Per request, [U, N]. examined: `examined_on_grid`."""
        scaled, middle = self._on_grid(users)
        place = np.clip(scaled @ factors.T + middle, 0, GRID_WEIGHTS - 1)
        lower = np.minimum(place.astype(np.int64), GRID_WEIGHTS - 2)
        below, above = (np.take_along_axis(examined, lower + step, axis=1) for step in (0, 1))
        return (
            proposed
            * (below + (place - lower) * (above - below))
            * self.click_probability(self.affinity(users, factors))
        )

    def examined_on_grid(self, users: np.ndarray, factors: np.ndarray, proposed: np.ndarray) -> np.ndarray:
        """The probability [U, G] that a proposed item is shown and examined, by its weight.

        A slate is drawn by perturbed weights, which is equivalent to a race: an item of weight w arrives before time s
        with probability 1 - exp(-w s). Let s_r be the time at which r items are expected to have arrived, where each
        item takes part with probability `proposed` [N]. An item that arrives between s_{r-1} and s_r has position r.
        """
        expected = np.zeros((len(users), GRID_WEIGHTS))  # [U, G], expected proposed items per weight
        scaled, middle = self._on_grid(users)
        shift = middle + 0.5 + np.arange(len(users))[:, None] * GRID_WEIGHTS  # [U, 1]: rounds; each user has own bins
        for start in range(0, len(proposed), ITEMS_PER_CHUNK):
            some = slice(start, start + ITEMS_PER_CHUNK)
            nearest = (scaled @ factors[some].T + shift).astype(np.int64)  # [U, n]
            weights = np.tile(proposed[some], len(users))
            expected += np.bincount(nearest.ravel(), weights, expected.size).reshape(expected.shape)
        limit = self.taste * np.sqrt(self.factors)  # the largest log weight of vectors of norm 1
        grid = np.linspace(-limit, limit, GRID_WEIGHTS)  # [G]
        log_times = np.linspace(-grid[-1] - 12, -grid[0] + 12, GRID_TIMES)  # [T]
        not_arrived = np.exp(-np.exp(grid[:, None] + log_times))  # [G, T]
        arrived = expected.sum(axis=1, keepdims=True) - expected @ not_arrived  # [U, T], rises along T
        positions = np.arange(1, self.slate + 1)
        examined = positions**-self.examination  # [S]
        probability = np.empty_like(expected)  # [U, G]
        for user, arrived_by in enumerate(arrived):
            ends = np.exp(np.interp(positions, arrived_by, log_times))  # [S]
            waiting = np.exp(-np.exp(grid[:, None]) * np.concatenate([[0.0], ends]))  # [G, S + 1]
            probability[user] = -np.diff(waiting, axis=1) @ examined
        return probability

    def _on_grid(self, users: np.ndarray) -> tuple[np.ndarray, float]:
        """(scaled, middle): scaled @ items.T + middle are fractional indices [U, N] of the grid of weights."""
        middle = (GRID_WEIGHTS - 1) / 2
        return users * middle, middle  # of vectors of norm 1, the largest weight is at the last index


def _clustered_directions(random: np.random.Generator, n: int, factors: int) -> np.ndarray:
    """n unit vectors [n, factors], each near a random coordinate axis."""
    centres = np.eye(factors)
    raw = centres[random.integers(factors, size=n)] + 0.35 * random.standard_normal((n, factors))
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def requests(world: World, user_numbers: np.ndarray, day: int) -> dict[str, np.ndarray]:
    """One request of each given user on a day: arrays [R * S], one element per shown item.

    Keys: user, item, position, clicked, second (of the day), delay and dwell. The last two are the click's delay and
    dwell time in seconds; they are also drawn for items that are not clicked.
    """
    random = np.random.default_rng([world.seed, 5, day, int(user_numbers[0]) if len(user_numbers) else 0])
    catalogue = np.flatnonzero(world.first_days() <= day)
    share = np.cumsum(world.popularity()[catalogue])
    drawn = np.searchsorted(share / share[-1], random.random((len(user_numbers), world.proposals)), side="right")
    items = catalogue[np.minimum(drawn, len(catalogue) - 1)]  # [R, P]
    users = world.user_factors(user_numbers)  # [R, Z]
    affinity = np.sqrt(world.factors) * np.einsum("rz,rpz->rp", users, world.item_factors()[items])  # [R, P]
    weights = world.taste * affinity + random.gumbel(size=items.shape)  # [R, P]
    shown = _slate(items, weights, world.slate)  # [R, S], columns of P
    items, affinity = np.take_along_axis(items, shown, 1), np.take_along_axis(affinity, shown, 1)  # [R, S]
    positions = np.arange(1, world.slate + 1)
    examined = random.random(items.shape) < positions**-world.examination
    clicked = examined & (random.random(items.shape) < world.click_probability(affinity))
    seconds = np.repeat(random.integers(0, 86_000, size=(len(user_numbers), 1)), world.slate, axis=1)
    return {
        "user": np.repeat(user_numbers, world.slate),
        "item": items.ravel(),
        "position": np.broadcast_to(positions, items.shape).ravel(),
        "clicked": clicked.ravel(),
        "second": seconds.ravel(),
        "delay": random.integers(5, 600, size=items.size),
        "dwell": world.dwell_seconds(affinity.ravel(), random.standard_normal(items.size)),
    }


def _slate(items: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Columns [R, S] of the `size` distinct items with the largest weights in each row of items [R, P]."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, 1)
    is_copy = np.zeros_like(items, dtype=bool)  # all but the first copy of an item in its row
    np.put_along_axis(is_copy, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return np.argsort(np.where(is_copy, -np.inf, weights), axis=1)[:, ::-1][:, :size]
