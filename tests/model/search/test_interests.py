"""Searches with several queries a user, compared with brute force. Axes: N users, Q interests, K results."""

from __future__ import annotations

import numpy as np
import pytest

from model.search.interests import best_dot_products, merged_by_best_score, queries_of
from model.search.item_index import ItemIndex
from model.search.lists.candidate_lists import CandidateLists, Quotas
from model.search.tuning import Sample, tune
from tests.model.search.catalogues import BACKENDS, DIMENSION, THOROUGH, Pair, brute_force, build, catalogue, unit
from tests.model.search.catalogues import some_exclusions as excluding
from tests.model.search.test_candidate_lists import popular

N, Q, K = 12, 3, 20
EMBEDDINGS, ITEMS = catalogue(n_items=200)
QUERIES = unit(np.random.default_rng(4), N * Q).reshape(N, Q, DIMENSION)


def best_of_all(queries: np.ndarray, k: int, excluded: Pair) -> Pair:
    """Every item's best score, sorted, as one Python loop per user."""
    found, scores = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, dtype=np.float32)
    for user, interests in enumerate(queries):
        flat, offsets = excluded
        own = flat[offsets[user] : offsets[user + 1]]
        best: dict[int, float] = {}
        for query in interests:
            pairs = brute_force(EMBEDDINGS, ITEMS, query[None], len(ITEMS), (own, np.array([0, len(own)])))
            for item, score in zip(pairs[0][0].tolist(), pairs[1][0].tolist(), strict=True):
                if item != -1:
                    best[item] = max(score, best.get(item, -np.inf))
        ranked = sorted(best, key=lambda item: (-best[item], item))[:k]
        found[user, : len(ranked)], scores[user, : len(ranked)] = ranked, [best[item] for item in ranked]
    return found, scores


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, K, 300])
def test_a_search_finds_the_items_with_the_best_scores_of_all_interests(backend: str, k: int) -> None:
    excluded = excluding(ITEMS, QUERIES[:, 0], EMBEDDINGS, n_best=K)
    index = build(backend, EMBEDDINGS, ITEMS, **THOROUGH[backend])
    found, scores = index.search(QUERIES, k, excluded)
    expected, expected_scores = best_of_all(QUERIES, k, excluded)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_interest_gives_what_a_query_gives(backend: str) -> None:
    excluded = excluding(ITEMS, QUERIES[:, 0], EMBEDDINGS, n_best=K)
    index = build(backend, EMBEDDINGS, ITEMS)
    for one, other in zip(
        index.search(QUERIES[:, :1], K, excluded), index.search(QUERIES[:, 0], K, excluded), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_an_approximate_search_scores_an_item_by_all_interests() -> None:
    """Also if only a worse query has found it."""
    index = build("ivf", EMBEDDINGS, ITEMS, lists=40, probes=1)
    found, scores = index.search(QUERIES, K)
    positions = index.positions(found)
    held = positions != -1
    np.testing.assert_array_equal(scores[held], best_dot_products(QUERIES, index.matrix, positions)[held])
    assert (np.diff(scores, axis=1) <= 0).all()


def test_an_index_is_tuned_by_the_merged_results() -> None:
    exact: ItemIndex = build("exact", EMBEDDINGS, ITEMS)
    sample = Sample(QUERIES.reshape(N, -1), None, K)
    index, recall, _ = tune(build("ivf", EMBEDDINGS, ITEMS, lists=20), sample.search(exact)[0], sample, 0.95)  # type: ignore[arg-type]
    found = [set(row) for row in index.search(QUERIES, K)[0].tolist()]
    wanted = [set(row) for row in best_of_all(QUERIES, K, (np.empty(0, int), np.zeros(N + 1, int)))[0].tolist()]
    assert recall == pytest.approx(np.mean([len(f & w) / K for f, w in zip(found, wanted, strict=True)]))
    assert recall >= 0.95


def test_items_of_every_channel_are_scored_by_the_best_interest() -> None:
    made = CandidateLists(build("exact", EMBEDDINGS, ITEMS), popular(), Quotas(K, popular=8))
    nothing = (np.empty(0, dtype=np.int64), np.zeros(N + 1, dtype=np.int64))
    found, scores, sources, _ = made.lists_for(QUERIES, nothing, np.zeros(N, dtype=bool), np.zeros(N, dtype=np.int64))
    vectors = dict(zip(ITEMS.tolist(), EMBEDDINGS, strict=True))
    assert len(np.unique(sources)) == 2
    for user, rank in np.ndindex(found.shape):
        best = max(float(query @ vectors[int(found[user, rank])]) for query in QUERIES[user])
        assert scores[user, rank] == pytest.approx(best, abs=1e-6)
    assert all(len(set(row)) == K for row in found.tolist())


def test_merging_keeps_an_items_best_score_and_orders_ties_by_item() -> None:
    items = np.array([[5, 3, -1, 3, 9, 7], [-1, -1, -1, -1, -1, -1]])
    scores = np.array([[0.2, 0.5, -np.inf, 0.7, 0.7, 0.2], [-np.inf] * 6], dtype=np.float32)
    found, merged = merged_by_best_score(items, scores, 5)
    assert found.tolist() == [[3, 9, 5, 7, -1], [-1] * 5]
    np.testing.assert_allclose(merged[0, :4], [0.7, 0.7, 0.2, 0.2])
    assert np.isneginf(merged[0, 4:]).all()
    assert merged.dtype == np.float32


def test_embeddings_of_users_must_hold_whole_vectors() -> None:
    vectors = np.arange(24, dtype=np.float32).reshape(2, 12)
    assert queries_of(vectors, 12) is vectors
    assert queries_of(vectors, 4)[1, 2].tolist() == [20, 21, 22, 23]
    for dimension in (5, 24):
        with pytest.raises(ValueError, match=rf"must hold vectors of dimension {dimension}, got 12 numbers"):
            queries_of(vectors, dimension)
