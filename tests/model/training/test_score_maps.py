"""Maps from log shares to probabilities: planted ones are recovered, and few hits are no reason for nonsense."""

from __future__ import annotations

import numpy as np
import pytest

from model.search.lists.calibration import IDENTITY, ScoreMap
from model.training.validation.score_maps import (
    BINS,
    COUNTED,
    COUNTS_SHAPE,
    HITS,
    TRIALS,
    counts_of,
    fitted,
    fitted_map,
)

CURVES = {"two_tower": (0.3, 0.8), "popular": (0.02, 0.2), "explore": (0.01, 1.0), "neighbours": (0.05, 0.5), "cold": (0.6, 1.0), "everyone": (0.4, 1.0)}  # fmt: skip


def planted(name: str, shares: np.ndarray) -> np.ndarray:
    """The probability of a click on a candidate with these shares: another power law in each channel."""
    factor, power = CURVES[name]
    return np.asarray(factor * shares**power)


def drawn(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares [n] and whether each candidate was clicked."""
    rng = np.random.default_rng(seed)
    shares = np.exp(-8 * rng.random(n)).astype(np.float32)
    return shares, rng.random(n) < planted(name, shares)


def all_counts(n: int, seed: int) -> np.ndarray:
    return np.stack([counts_of(*drawn(name, n, seed + number)) for number, name in enumerate(COUNTED)])


def test_planted_probabilities_are_recovered() -> None:
    calibration = fitted(all_counts(1_000_000, 0), 0.1, 100)
    at = np.exp(np.linspace(-6.5, -0.5, 13))
    for name, score_map in zip(COUNTED, calibration.maps, strict=False):
        np.testing.assert_allclose(score_map.probabilities(np.log(at)), planted(name, at), rtol=0.35, err_msg=name)
        shares, _ = drawn(name, 100_000, 9)
        found, truth = score_map.probabilities(np.log(shares)), planted(name, shares)
        assert found.mean() == pytest.approx(truth.mean(), rel=0.1), name


def test_scores_of_two_channels_compare() -> None:
    """The raw scores of the popular channel are as high, but they are clicked on less: a merge by them loses clicks."""
    calibration = fitted(all_counts(200_000, 0), 0.1, 100)
    names = ("two_tower", "popular")
    draws = [drawn(name, 60_000, 50 + number) for number, name in enumerate(names)]
    raw = np.concatenate([shares for shares, _ in draws]).reshape(-1, 40, order="F")
    scores = np.concatenate(
        [
            score_map.probabilities(np.log(shares))
            for score_map, (shares, _) in zip(calibration.maps, draws, strict=False)
        ]
    ).reshape(-1, 40, order="F")
    hits = np.concatenate([hit for _, hit in draws]).reshape(-1, 40, order="F")

    def clicks_among_the_best(order_by: np.ndarray) -> int:
        best = np.argsort(-order_by, axis=1, kind="stable")[:, :5]
        return int(np.take_along_axis(hits, best, axis=1).sum())

    assert clicks_among_the_best(scores) > 1.2 * clicks_among_the_best(raw)


@pytest.mark.parametrize("seed", range(30))
def test_a_map_of_few_noisy_candidates_rises_and_is_finite(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(10 ** rng.uniform(0, 4))
    shares = np.exp(-rng.uniform(0, 70, n)).astype(np.float32)
    hits = rng.random(n) < rng.choice([0, 0.01, 0.5, 1])
    base = ScoreMap((-9.0, -1.0), (-7.0, -0.5))
    for start in (IDENTITY, base):
        found = fitted_map(counts_of(shares, hits), start)
        probs = found.probabilities(np.linspace(-70, 0, 200))
        assert np.isfinite(probs).all()
        assert (np.diff(probs) >= 0).all()
        assert (probs <= 1).all()


def test_few_hits_scale_the_base_to_the_mean_rate_and_no_hit_keeps_it_near() -> None:
    base = ScoreMap((-9.0, -1.0), (-7.0, -2.0))
    shares = np.exp(-np.linspace(1, 9, 4_000)).astype(np.float32)
    expected = base.probabilities(np.log(shares)).sum()
    hits = np.zeros(len(shares), dtype=bool)
    hits[:400:10] = True  # 40: too few for three groups
    assert expected > 5
    few = fitted_map(counts_of(shares, hits), base).probabilities(np.log(shares))
    assert few.sum() == pytest.approx(40, rel=0.01)
    none = fitted_map(counts_of(shares[::100], hits[:40] & False), base)
    rate = none.probabilities(np.array([-3.0])) / base.probabilities(np.array([-3.0]))
    assert 0.3 < rate.item() < 1
    assert fitted_map(np.zeros((3, BINS)), base) == base


def test_hits_that_fall_with_the_share_are_pooled_to_their_mean() -> None:
    rng = np.random.default_rng(3)
    shares = np.exp(-8 * rng.random(50_000)).astype(np.float32)
    hits = rng.random(50_000) < 0.02 * (1 - shares)
    counts = counts_of(shares, hits)
    found = fitted_map(counts, IDENTITY).probabilities(np.linspace(-8, 0, 50))
    assert found == pytest.approx(np.full(50, counts[HITS].sum() / counts[TRIALS].sum()), rel=0.1)


def test_a_channel_without_candidates_gets_the_map_it_is_compared_with() -> None:
    counts = all_counts(100_000, 0)
    for name in ("popular", "neighbours", "cold"):
        counts[COUNTED.index(name)] = 0
    maps = fitted(counts, 0.1, 100).maps
    assert maps[1] == maps[3] == maps[0] != maps[2]
    everyone = fitted_map(counts[COUNTED.index("everyone")], IDENTITY)
    assert maps[4] == everyone
    assert counts.shape == COUNTS_SHAPE
