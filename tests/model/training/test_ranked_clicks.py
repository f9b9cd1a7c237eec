"""Metrics over held-out clicks and the difference of two models, compared with loops."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch

from model.training.validation.clicks import RankedClicks
from model.training.validation.last_pass import compared_metric


def test_metrics_are_those_of_a_loop() -> None:
    ranks, users = [0, 9, 10, 99, 100, 3], [5, 5, 5, 7, 7, 9]
    found = RankedClicks(torch.tensor(ranks), torch.tensor(users)).metrics()
    assert found["rows"] == 6
    for k in (10, 100):
        hits = [rank < k for rank in ranks]
        assert found[f"recall@{k}"] == pytest.approx(statistics.mean(hits))
        of_users = [statistics.mean(h for h, u in zip(hits, users, strict=True) if u == user) for user in (5, 7, 9)]
        assert found[f"user_recall@{k}"] == pytest.approx(statistics.mean(of_users))
    assert found["mrr"] == pytest.approx(statistics.mean(1 / (rank + 1) for rank in ranks))
    assert found["ndcg"] == pytest.approx(statistics.mean(1 / math.log2(rank + 2) for rank in ranks))


def test_recall_is_measured_at_the_configured_lengths() -> None:
    clicks = RankedClicks(torch.tensor([0, 1, 2, 5]), torch.tensor([1, 1, 2, 2]), (1, 3))
    found = clicks.metrics()
    assert {name: found[name] for name in found if "recall" in name} == {
        "recall@1": 0.25, "recall@3": 0.75, "user_recall@1": 0.25, "user_recall@3": 0.75,
    }  # fmt: skip
    part = clicks.part(torch.tensor([True, False, False, True]))
    assert part.metrics()["recall@1"] == 0.5
    assert clicks.difference(RankedClicks(clicks.ranks + 1, clicks.users), "recall@3").mean == 0.25


@pytest.mark.parametrize(
    ("items", "cutoffs", "metric"),
    [
        (999, (10, 100), "recall@10"),
        (1_000, (10, 100), "recall@100"),
        (499, (5, 50), "recall@5"),
        (500, (5, 50), "recall@50"),
    ],
)
def test_a_small_catalogue_is_compared_at_the_shorter_length(items: int, cutoffs: tuple[int, int], metric: str) -> None:
    assert compared_metric(items, cutoffs) == metric


def test_no_click_has_no_metric() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert RankedClicks(none, none).metrics() == {"rows": 0.0}


def test_the_standard_error_is_that_of_samples_of_users() -> None:
    """Clicks of a user rise and fall together, so the error of independent clicks would be too small."""
    random = np.random.default_rng(0)
    users, draws = 400, 2_000
    gains = random.choice([-1, 0, 0, 1], size=users)  # of all clicks of a user
    counts = random.integers(1, 6, size=users)
    of_click = np.repeat(np.arange(users), counts)
    before = np.where(gains[of_click] == 1, 50, 5)
    after = np.where(gains[of_click] == -1, 50, 5)
    one, other = (RankedClicks(torch.from_numpy(ranks), torch.from_numpy(of_click)) for ranks in (after, before))
    found = one.difference(other, "recall@10")
    assert found.mean == pytest.approx(gains[of_click].mean())
    sampled = random.integers(0, users, size=(draws, users))
    means = (gains * counts)[sampled].sum(axis=1) / counts[sampled].sum(axis=1)
    assert found.standard_error == pytest.approx(means.std(), rel=0.1)
    independent = gains[of_click].std() / math.sqrt(len(of_click))
    assert found.standard_error > 1.3 * independent


def test_one_user_tells_nothing_about_others() -> None:
    one, other = (RankedClicks(torch.tensor(ranks), torch.tensor([3, 3])) for ranks in ([0, 0], [50, 50]))
    found = one.difference(other, "recall@10")
    assert found.mean == 1
    assert math.isinf(found.standard_error)
    assert found.to_json() == {"mean": 1.0, "standard_error": None}
