"""Samplers and expected counts. Axes: I items, N draws."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from model.negatives import CategoricalSampler, expected_count, log_count, smoothed_probabilities


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_follow_the_probabilities_and_the_expected_counts() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.08, 0.02])
    sampler, n = CategoricalSampler(probabilities), 200_000
    drawn = sampler.sample(n, seeded())
    assert drawn.dtype == torch.int64
    assert drawn.shape == (n,)
    counts, expected = torch.bincount(drawn, minlength=5), sampler.expected_count(torch.arange(5), n)
    torch.testing.assert_close(expected, n * probabilities)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 18.5  # four degrees of freedom: one in a thousand is above


def test_items_of_probability_zero_are_never_drawn() -> None:
    sampler = CategoricalSampler(torch.tensor([0.0, 0.3, 0.0, 0.0, 0.7, 0.0]))
    assert set(sampler.sample(100_000, seeded()).tolist()) == {1, 4}


def test_the_ends_of_the_unit_interval_hit_items_that_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: ends)
    tenths = [0.0, *[0.1] * 10, 0.0]  # ten times .1 is not 1 in floating point
    assert CategoricalSampler(tenths).sample(2).tolist() == [1, 10]


def test_a_seed_repeats_its_draws() -> None:
    sampler = CategoricalSampler([0.1] * 10)
    assert torch.equal(sampler.sample(50, seeded(3)), sampler.sample(50, seeded(3)))
    assert not torch.equal(sampler.sample(50, seeded(3)), sampler.sample(50, seeded(4)))
    assert sampler.sample(0).shape == (0,)


def test_catalogues_larger_than_torch_multinomial_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    items = 2**24 + 1_000
    each = 0.5 / (items - 1)
    probabilities = torch.full((items,), each, dtype=torch.float64)
    probabilities[0] = 0.5  # the others share the upper half, where float32 has only 2**23 numbers
    sampler = CategoricalSampler(probabilities)
    drawn = sampler.sample(20_000, seeded())
    assert (drawn == 0).float().mean() == pytest.approx(0.5, abs=0.015)
    assert drawn[drawn > 0].double().mean() == pytest.approx(items / 2, rel=0.02)
    assert float(sampler.expected_count(torch.tensor([0]), 10)) == pytest.approx(5)
    neighbours = torch.cat([torch.arange(1, 1_000), torch.arange(items - 1_000, items)])
    middles = 0.5 + (neighbours.double() - 0.5) * each  # of each item's interval
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: middles)
    assert torch.equal(sampler.sample(len(neighbours)), neighbours)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([0.5, 0.4], "sum to 1 within 0.0001, got 0.9"),
        ([0.5, 0.5002], "sum to 1"),
        ([1.2, -0.2], r"0 or more, got -0.2\d* at item 1"),
        ([0.5, math.nan, 0.5], "got nan at item 1"),
        ([math.inf], "got inf at item 0"),
        ([], r"shape \[I\]"),
        ([[0.5, 0.5]], r"shape \[I\] .* got \[1, 2\]"),
    ],
)
def test_what_is_no_distribution_is_refused(probabilities: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CategoricalSampler(probabilities)


def test_a_sum_that_is_off_by_rounding_is_put_right() -> None:
    sampler = CategoricalSampler([0.5, 0.50005])
    assert sampler.expected_count(torch.tensor([0, 1]), 1_000_000).sum() == pytest.approx(1_000_000, rel=1e-7)


@pytest.mark.parametrize("ids", [torch.tensor([2]), torch.tensor([0, -1])])
def test_items_outside_the_catalogue_are_refused(ids: Tensor) -> None:
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="item indices must lie in 0 to 1"):
        CategoricalSampler(half).expected_count(ids, 1)
    with pytest.raises(ValueError, match="item indices must lie in 0 to 1"):
        log_count(expected_count(ids, [(1, half)]))


def test_expected_counts_of_a_mixture_by_hand() -> None:
    q, u = torch.tensor([0.75, 0.25, 0.0, 0.0]), torch.full((4,), 0.25)
    p, r = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([0.5, 0.5, 0.0, 0.0])
    log_n = log_count(expected_count(torch.tensor([3, 0, 2, 1, 0]), [(7, q), (4, u), (3, p), (10, r)]))
    assert log_n.dtype == torch.float32
    # 4 / 4; 7 * .75 + 1 + 5; 1 + 3; 7 * .25 + 1 + 5
    torch.testing.assert_close(log_n.exp(), torch.tensor([1.0, 11.25, 4.0, 7.75, 11.25]))


def test_expected_counts_are_what_sampled_columns_show() -> None:
    q, u = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    generator, batches = seeded(), 20_000
    drawn = [
        CategoricalSampler(q).sample(5 * batches, generator),
        CategoricalSampler(u).sample(3 * batches, generator),
    ]
    counts = torch.bincount(torch.cat(drawn), minlength=3) / batches
    torch.testing.assert_close(
        log_count(expected_count(torch.arange(3), [(5, q), (3, u)])).exp(), counts, rtol=0.02, atol=0
    )


def test_no_source_no_count() -> None:
    assert log_count(expected_count(torch.tensor([1]), [(5, torch.tensor([1.0, 0.0]))])).tolist() == [-math.inf]
    with pytest.raises(ValueError, match="draws must be 0 or more, got -1"):
        log_count(expected_count(torch.tensor([0]), [(-1, torch.tensor([1.0]))]))


def test_smoothing_runs_from_uniform_to_popularity_and_leaves_no_zero() -> None:
    counts = torch.tensor([0, 8, 99, 0])
    torch.testing.assert_close(smoothed_probabilities(counts, 0.0), torch.full((4,), 0.25).double())
    torch.testing.assert_close(smoothed_probabilities(counts, 0.5), torch.tensor([1.0, 3.0, 10.0, 1.0]).double() / 15)
    torch.testing.assert_close(smoothed_probabilities(counts, 1.0), torch.tensor([1.0, 9.0, 100.0, 1.0]).double() / 111)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_outside_the_unit_interval_is_refused_by_its_key(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"corpus_alpha must lie in \[0, 1\], got"):
        smoothed_probabilities(torch.ones(3), alpha)


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must be finite and 0 or more, got -1 at item 2"):
        smoothed_probabilities(torch.tensor([0, 3, -1]), 0.5)
