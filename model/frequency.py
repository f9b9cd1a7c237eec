"""How often each item occurs, estimated from the stream of batches (Yi et al. 2019, algorithms 2 and 3).

Axes: S hashes, H buckets of each, N ids. Steps count from 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.losses.checks import check_ids, check_shape

FIRST_COUNT = 1.0  # a hit has at least one id
SUM_TOLERANCE = 1e-4
WORST = 5  # items that a drift report names
# splitmix64 (Steele, Lea, Flood 2014) as signed 64-bit numbers: the same in every process
GOLDEN, MIX_1, MIX_2 = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class StreamingFrequency:
    """Moving averages, bucket by bucket, of the steps between hits and of the ids per hit.

    At step t, once for each distinct bucket h that is hit, with c the number of the batch's ids in it:

        B[h] <- (1 - alpha) B[h] + alpha (t - A[h]),    K[h] <- (1 - alpha) K[h] + alpha c,    A[h] <- t

    A and B are the paper's. K is an addition: it tells items apart that occur in every batch, whose B is always 1.
    Collisions make a bucket look more frequent, so with several hashes the largest B and the smallest K / B are used.
    """

    def __init__(
        self,
        buckets: int,
        *,
        hashes: int = 1,
        alpha: float = 0.01,
        initial_interval: float = 10.0,
        device: torch.device | str | None = None,
    ) -> None:
        """initial_interval: steps between hits, assumed for buckets that have not been hit.

        Call `seed_from_probabilities` if counts are known: with alpha = .01 a bucket needs about 500 hits to forget
        its initial value.
        """
        if buckets < 1 or hashes < 1:
            raise ValueError(f"buckets and hashes must be at least 1, got {buckets} and {hashes}")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
        if not 0 < initial_interval < float("inf"):
            raise ValueError(f"initial_interval must be a positive number of steps, got {initial_interval}")
        self.buckets, self.hashes, self.alpha = buckets, hashes, alpha
        cells = hashes * buckets  # every hash has buckets of its own
        self._last_hit = torch.zeros(cells, dtype=torch.int64, device=device)  # A [S * H]
        zeros = torch.zeros(cells, dtype=torch.float64, device=device)
        self._interval = zeros + initial_interval  # B [S * H]
        self._count = zeros + FIRST_COUNT  # K [S * H]
        self._step = 0

    @property
    def step(self) -> int:
        """The step of the last update; 0 before the first."""
        return self._step

    def update(self, ids: Tensor, step: int) -> None:
        """Learn from the ids of one global batch, of any shape; steps must ascend from 1."""
        if step <= self._step:
            raise ValueError(f"steps count from 1 and ascend, got {step} after {self._step}")
        # a cell that is hit several times stands there as often, each time with the same new values
        cells = self._cells(ids).reshape(-1).sort().values  # [S * N]
        counts = torch.searchsorted(cells, cells, right=True) - torch.searchsorted(cells, cells)  # [S * N]
        since = (step - self._last_hit[cells]).double()  # [S * N]
        self._interval[cells] = torch.lerp(self._interval[cells], since, self.alpha)
        self._count[cells] = torch.lerp(self._count[cells], counts.double(), self.alpha)
        self._last_hit[cells] = step
        self._step = step

    def hit_probability(self, ids: Tensor) -> Tensor:
        """The share of steps whose batch contains the id: 1 / (the largest B over the hashes), float32."""
        interval = self._interval[self._cells(ids)].amax(dim=0)  # [N]
        return interval.reciprocal().reshape(ids.shape).float()

    def expected_count(self, ids: Tensor) -> Tensor:
        """How many times a batch is expected to contain the id: the smallest K / B over the hashes, float32."""
        cells = self._cells(ids)  # [S, N]
        return (self._count[cells] / self._interval[cells]).amin(dim=0).reshape(ids.shape).float()

    def seed_from_probabilities(self, ids: Tensor, probabilities: Tensor, batch_rows: int) -> None:
        """Set B and K from known probabilities [N] of the ids [N] in the stream.

        With R = batch_rows, the rows of a global batch, a bucket whose ids have the total probability P gets R P ids
        per batch on average, and at least one with probability 1 - (1 - P)^R. Buckets with P = 0 do not change.
        Raises ValueError for negative probabilities, for a sum above 1, and for batch_rows below 1.
        """
        check_shape("probabilities", probabilities, (ids.numel(),))
        total = float(probabilities.double().sum())
        if not (bool((probabilities >= 0).all()) and total <= 1 + SUM_TOLERANCE):
            raise ValueError(f"probabilities must be 0 or more and sum to at most 1, got a sum of {total}")
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        weights = probabilities.to(self._interval).expand(self.hashes, -1)  # [S, N]
        mass = torch.zeros_like(self._interval).put_(self._cells(ids), weights, accumulate=True)  # [S * H]
        never = batch_rows * torch.log1p(-mass.clamp(max=1))  # [S * H], ln (1 - P)^R
        hit = -torch.expm1(never)  # [S * H], accurate for small masses too
        known = mass > 0
        self._interval[known] = hit[known].reciprocal()
        self._count[known] = batch_rows * mass[known] / hit[known]

    def state_dict(self) -> dict[str, Any]:
        tensors = {"last_hit": self._last_hit, "interval": self._interval, "count": self._count}
        settings = {"buckets": self.buckets, "hashes": self.hashes, "alpha": self.alpha, "step": self._step}
        return settings | {name: tensor.clone() for name, tensor in tensors.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the saved state. Raises ValueError if buckets, hashes or alpha differ."""
        for name in ("buckets", "hashes", "alpha"):
            if state[name] != getattr(self, name):
                raise ValueError(f"the saved {name} must be {getattr(self, name)}, got {state[name]}")
        self._last_hit.copy_(state["last_hit"])
        self._interval.copy_(state["interval"])
        self._count.copy_(state["count"])
        self._step = state["step"]

    def _cells(self, ids: Tensor) -> Tensor:
        """The position of each id in the flat tables, for each hash: [S, N] int64."""
        check_ids("ids", ids, tuple(ids.shape))
        flat = ids.reshape(-1).to(self._last_hit)  # [N]
        places = [hash_bucket(flat, seed, self.buckets) for seed in range(self.hashes)]  # S times [N]
        first_cells = torch.arange(self.hashes, device=flat.device) * self.buckets  # [S]
        return torch.stack(places) + first_cells[:, None]


def drift_report(ids: Tensor, estimated: Tensor, counted: Tensor) -> dict[str, Any]:
    """How far estimated shares [N] of the items `ids` [N] are from their counted shares [N], all above 0.

    `items`: N. `total_variation`: half the sum of |estimated - counted|. `log_ratio`: the mean over examples of
    |ln(estimated / counted)|, which is the error of the log-Q correction. `worst`: the items with the largest
    |ln(estimated / counted)|, with both shares.
    """
    estimated, counted = estimated.double(), counted.double()
    log_ratio = (estimated / counted).log()  # [N]
    worst = log_ratio.abs().topk(min(len(ids), WORST)).indices  # [WORST]
    return {
        "items": len(ids),
        "total_variation": float((estimated - counted).abs().sum() / 2),
        "log_ratio": float((counted * log_ratio.abs()).sum() / counted.sum()),
        "worst": [
            {"item_index": int(ids[place]), "estimated": float(estimated[place]), "counted": float(counted[place])}
            for place in worst
        ],
    }


def hash_bucket(ids: Tensor, seed: int, buckets: int) -> Tensor:
    """ids [N] int64 -> [N] bucket numbers from 0 to buckets - 1.

    Seed 0 takes the remainder: consecutive item indices collide only if there are more of them than buckets, and are
    then spread evenly. Other seeds mix the bits with splitmix64.
    """
    return ids % buckets if seed == 0 else mixed_bits(ids, seed) % buckets


def mixed_bits(numbers: Tensor, seed: int) -> Tensor:
    """numbers [N] int64 -> [N] int64 whose 64 bits look random, different for different numbers: splitmix64."""
    mixed = numbers + numbers.new_tensor(seed) * GOLDEN  # tensors wrap around at 64 bits
    mixed = (mixed ^ shift_right(mixed, 30)) * MIX_1
    mixed = (mixed ^ shift_right(mixed, 27)) * MIX_2
    return mixed ^ shift_right(mixed, 31)


def shift_right(values: Tensor, bits: int) -> Tensor:
    """Shift in zeros; torch's own shift of int64 repeats the sign."""
    return (values >> bits) & (2 ** (64 - bits) - 1)
