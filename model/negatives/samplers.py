"""Distributions of items: draws from them, and how often each item is expected.

Axes: I items of the catalogue, N draws, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from model.data import devices

SUM_TOLERANCE = 1e-4
Share = Tensor | Callable[[Tensor], Tensor]  # probabilities [I], or a function: item indices [C] -> probabilities [C]


class CategoricalSampler:
    """Draws items with replacement, by binary search in cumulative float64 probabilities: O(log I) per draw.

    `torch.multinomial` allows at most 2**24 items; this sampler allows more. Items of probability 0 are never drawn.
    """

    def __init__(self, probabilities: Tensor | Iterable[float]) -> None:
        """probabilities [I]. Raises ValueError unless they are finite, at least 0, and sum to 1 within 1e-4."""
        given = torch.as_tensor(probabilities).detach()  # [I]
        self.dtype = torch.promote_types(given.dtype, torch.float32)  # of the expected counts
        total = _checked_sum("probabilities", given)
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"probabilities must sum to 1 within {SUM_TOLERANCE}, got {total}")
        self.probabilities = given.double() / total  # [I] float64
        cumulative = self.probabilities.cpu().cumsum(0)  # [I], on the CPU, which sums in order: it never falls
        self._cumulative = (cumulative / cumulative[-1]).to(given.device)  # [I], ends at exactly 1

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """[n] int64 item indices."""
        if n < 0:
            raise ValueError(f"the number of draws must be 0 or more, got {n}")
        device = self._cumulative.device
        points = torch.rand(n, dtype=torch.float64, generator=generator, device=device)  # [n]
        return torch.searchsorted(self._cumulative, points, right=True)  # [n], the first above its point

    def expected_count(self, ids: Tensor, n: int) -> Tensor:
        """How often each id is expected among n draws, counting repetitions; has the shape of ids."""
        return (n * _probability_of(ids, self.probabilities)).to(self.dtype)


def expected_count(ids: Tensor, terms: Iterable[tuple[float, Share]]) -> Tensor:
    """How often each item is expected in a mixture of sources: n(j) = the sum over sources of draws * share(j).

    ids [C] int64 -> [C] float64. terms: for each source, its number of draws and the probabilities of the items.
    Raises ValueError for a negative number of draws and for ids outside the catalogue.
    """
    count = torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)  # [C]
    for draws, share in terms:
        if not draws >= 0:
            raise ValueError(f"a source's number of draws must be 0 or more, got {draws}")
        count += draws * (share(ids) if callable(share) else _probability_of(ids, share)).to(count)
    return count


def log_count(counts: Tensor) -> Tensor:
    """ln of expected counts, float32; -inf for an item that no source draws: the loss then raises ValueError."""
    return counts.log().float()


def smoothed_probabilities(counts: Tensor, alpha: float) -> Tensor:
    """u(j) proportional to (count + 1) ** alpha: uniform for alpha 0, nearly the shares of counts for 1, never 0.

    counts [I] -> [I] float64. Raises ValueError for alpha outside [0, 1] and for negative or infinite counts.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"corpus_alpha must lie in [0, 1], got {alpha}")
    _checked_sum("counts", counts)
    smoothed = (counts.double() + 1) ** alpha  # [I]
    return smoothed / smoothed.sum()


def _checked_sum(name: str, values: Tensor) -> float:
    """The sum of values [I]. Raises ValueError unless they are finite and 0 or more."""
    if values.dim() != 1 or not len(values):
        raise ValueError(f"{name} must have shape [I] with I of 1 or more, got {list(values.shape)}")
    wrong = ~(torch.isfinite(values) & (values >= 0))  # [I]
    if bool(wrong.any()):
        item = int(wrong.nonzero()[0, 0])
        raise ValueError(f"{name} must be finite and 0 or more, got {values[item].item()} at item {item}")
    return float(values.double().sum())


def _probability_of(ids: Tensor, probabilities: Tensor) -> Tensor:
    can_check = not devices.is_asynchronous(ids.device)  # where reading makes the host wait, the device checks indices
    if can_check and ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= len(probabilities)):
        found = f"{int(ids.min())} to {int(ids.max())}"
        raise ValueError(f"item indices must lie in 0 to {len(probabilities) - 1}, got {found}")
    return probabilities[ids]
