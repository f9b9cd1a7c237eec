"""Ranking metrics: hand-worked lists, random lists compared with torchmetrics, and invalid arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.retrieval import (
    RetrievalHitRate,
    RetrievalMRR,
    RetrievalNormalizedDCG,
    RetrievalRecall,
)

from model.metrics import popularity_slices, ranking_metrics, share_of


def ragged(*rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return np.array([item for row in rows for item in row], dtype=np.int64), offsets


def test_hand_worked_lists() -> None:
    ranked = np.array([[5, 1, 9, 3], [7, 2, -1, -1], [4, 6, 8, 0]])
    metrics = ranking_metrics(ranked, ragged([1, 3, 8], [7], [9]), [2, 4])
    log = np.log2
    wanted = {
        "recall@2": [1 / 3, 1, 0],
        "recall@4": [2 / 3, 1, 0],
        "hit_rate@2": [1, 1, 0],
        "hit_rate@4": [1, 1, 0],
        "mrr@2": [1 / 2, 1, 0],
        "mrr@4": [1 / 2, 1, 0],
        "ndcg@2": [(1 / log(3)) / (1 + 1 / log(3)), 1, 0],
        "ndcg@4": [(1 / log(3) + 1 / log(5)) / (1 + 1 / log(3) + 1 / log(4)), 1, 0],
    }
    assert metrics.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(metrics[name], values, rtol=1e-12, err_msg=name)


TORCHMETRICS = {
    "recall": RetrievalRecall,
    "ndcg": RetrievalNormalizedDCG,
    "hit_rate": RetrievalHitRate,
    "mrr": RetrievalMRR,
}


@pytest.mark.parametrize("name", TORCHMETRICS)
@pytest.mark.parametrize("k", [1, 5, 30])
def test_agrees_with_torchmetrics(name: str, k: int) -> None:
    rng = np.random.default_rng(3)
    n_users, n_items = 40, 60
    scores = rng.random((n_users, n_items), dtype=np.float32)
    targets = rng.random((n_users, n_items)) < np.linspace(0.01, 0.7, n_users)[:, None]
    targets[:, 0] |= ~targets.any(axis=1)
    ranked = np.argsort(-scores, axis=1)[:, :30]
    relevant = ragged(*[np.flatnonzero(row).tolist() for row in targets])
    ours = ranking_metrics(ranked, relevant, [k])[f"{name}@{k}"]
    reference = TORCHMETRICS[name](top_k=k, aggregation=lambda values, dim: values)
    users = torch.arange(n_users).repeat_interleave(n_items)
    reference.update(torch.from_numpy(scores).ravel(), torch.from_numpy(targets).ravel(), indexes=users)
    theirs = reference.compute().numpy()
    assert theirs.shape == (n_users,)
    assert 0 < theirs.mean() <= 1
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_user_without_relevant_items_has_no_value() -> None:
    metrics = ranking_metrics(np.array([[1, 2], [1, 2]]), ragged([], [1]), [1, 2])
    for values in metrics.values():
        assert np.isnan(values[0])
        assert values[1] == 1


def test_an_item_of_one_user_is_no_hit_for_the_next() -> None:
    ranked = np.array([[0, 1], [2, 3], [-1, -1]])
    metrics = ranking_metrics(ranked, ragged([2, 3], [0, 1], [3]), [2])
    assert metrics["recall@2"].tolist() == [0, 0, 0]


def test_padding_is_no_hit_for_the_last_item_of_the_row_before() -> None:
    metrics = ranking_metrics(np.array([[0, 1], [2, -1]]), ragged([2], [1]), [2])
    assert metrics["hit_rate@2"].tolist() == [0, 0]


def test_an_item_named_twice_as_relevant_counts_once() -> None:
    assert ranking_metrics(np.array([[4, 5]]), ragged([4, 4, 6]), [2])["recall@2"].tolist() == [0.5]


def test_no_users() -> None:
    metrics = ranking_metrics(np.empty((0, 3), dtype=np.int64), ragged(), [3])
    assert [values.shape for values in metrics.values()] == [(0,)] * 4


@pytest.mark.parametrize(
    ("ranked", "relevant", "ks", "message"),
    [
        ([[1, 2, 1]], ragged([1]), [3], "each item once.* got 1 twice"),
        ([[1, -1, 2]], ragged([1]), [3], "got an item after -1"),
        ([[1, -2, -2]], ragged([1]), [3], "got -2"),
        ([[1, 2, 3]], ragged([1]), [4], r"1 to 3.*got \[4\]"),
        ([[1, 2, 3]], ragged([1]), [0], r"got \[0\]"),
        ([[1, 2, 3]], ragged([-1]), [3], "got -1"),
        ([[1, 2, 3]], ragged([1], [2]), [3], "2 offsets for 1 rows, got 3"),
        ([[1, 2, 3]], (np.array([1]), np.array([0, 2])), [3], "ascending offsets from 0 to 1"),
        ([[1, 2, 3]], (np.array([1]), np.array([1, 0])), [3], "ascending offsets"),
        ([[1, 2, 3]], (np.array([1.5]), np.array([0, 1])), [3], "integers, got float64"),
        ([[1.0, 2.0]], ragged([1]), [1], "got float64"),
        ([1, 2, 3], ragged([1]), [1], r"\[U, K\], got int64 \[3\]"),
        ([[2**62, 1], [3, 4]], ragged([1], [1]), [1], "63 bits"),
    ],
)
def test_wrong_arguments_are_refused(ranked: list, relevant: tuple, ks: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranking_metrics(np.array(ranked), relevant, ks)


def test_several_paddings_are_no_repetition() -> None:
    assert ranking_metrics(np.array([[1, -1, -1]]), ragged([1]), [3])["recall@3"].tolist() == [1]


def test_offsets_of_a_sliced_column_start_elsewhere() -> None:
    metrics = ranking_metrics(np.array([[7], [8]]), (np.array([1, 7, 9]), np.array([1, 2, 3])), [1])
    assert metrics["recall@1"].tolist() == [1, 0]


def test_share_of_counts_listed_items() -> None:
    flags = np.array([True, False, False, True])
    assert share_of(np.array([[0, 1, -1], [3, 0, 2]]), flags) == 3 / 5
    assert np.isnan(share_of(np.array([[-1]]), flags))
    with pytest.raises(ValueError, match="below 4"):
        share_of(np.array([[4]]), flags)


@pytest.mark.parametrize(
    ("counts", "shares", "wanted"),
    [
        ([10, 50, 0, 30, 10], (0.5, 0.3), [2, 0, 2, 1, 2]),
        ([25, 25, 25, 25], (0.5, 0.25), [0, 0, 0, 0]),  # equal counts share a slice
        ([40, 20, 20, 20], (0.4, 0.3), [0, 1, 1, 1]),
        ([60, 30, 10], (0.5, 0.3), [0, 1, 2]),  # the item that reaches the share is in the slice
        ([40, 20, 35, 5], (0.5, 0.3), [0, 1, 0, 2]),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], (0.1, 0.2), [0] * 10),
        ([3, 0, 0], (0.0, 1.0), [1, 2, 2]),
        ([0, 0], (0.5, 0.3), [2, 2]),
        ([7], (0.5, 0.3), [0]),
        ([], (0.5, 0.3), []),
    ],
)
def test_popularity_slices(counts: list[int], shares: tuple[float, float], wanted: list[int]) -> None:
    slices = popularity_slices(np.array(counts, dtype=np.int64), *shares)
    assert slices.dtype == np.int8
    assert slices.tolist() == wanted


def test_popularity_slices_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="int64, -1"):
        popularity_slices(np.array([3, -1]))
    with pytest.raises(ValueError, match="float64"):
        popularity_slices(np.array([0.5]))
    with pytest.raises(ValueError, match="at most 1 together"):
        popularity_slices(np.array([3, 1]), 0.7, 0.4)
    with pytest.raises(ValueError, match="at least 0"):
        popularity_slices(np.array([3, 1]), -0.1, 0.4)
