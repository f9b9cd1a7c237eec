"""Searches of every index backend compared with brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.search import item_index, top_k
from tests.model.search.catalogues import (
    BACKENDS,
    DIMENSION,
    N_ITEMS,
    THOROUGH,
    Pair,
    brute_force,
    build,
    catalogue,
    ragged,
    some_exclusions,
    unit,
)


@pytest.mark.parametrize("k", [1, 10, N_ITEMS + 5])
def test_exact_equals_brute_force(k: int) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(1), 20)
    excluded = some_exclusions(items, queries, embeddings, 40)
    found, scores = build("exact", embeddings, items).search(queries, k, excluded)
    expected, expected_scores = brute_force(embeddings, items, queries, k, excluded)
    assert (expected == -1).any()
    assert (expected != -1).any()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)
    assert found.dtype == np.int64
    assert scores.dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_enough_search_budget_every_backend_equals_brute_force(backend: str) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(1), 20)
    excluded = some_exclusions(items, queries, embeddings, 40)
    index = build(backend, embeddings, items, **THOROUGH[backend])
    found, scores = index.search(queries, 10, excluded)
    expected, expected_scores = brute_force(embeddings, items, queries, 10, excluded)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        *(("annoy", {"n_trees": trees, "search_k": nodes}) for trees in (1, 10) for nodes in (1, 60)),
        *(("ivf", {"lists": lists, "probes": probes}) for lists in (1, 30, N_ITEMS) for probes in (1, 4)),
    ],
)
def test_no_search_returns_an_excluded_item_nor_a_short_row(backend: str, options: dict[str, int]) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(2), 40)
    flat, offsets = excluded = some_exclusions(items, queries, embeddings, 200)
    index = build(backend, embeddings, items, **options)
    found, scores = index.search(queries, 30, excluded)
    for row in range(len(queries)):
        banned = set(flat[offsets[row] : offsets[row + 1]].tolist()) & set(items.tolist())
        results = found[row][found[row] >= 0].tolist()
        assert len(set(results)) == len(results) == min(30, N_ITEMS - len(banned))
        assert set(results) <= set(items.tolist()) - banned
    assert (np.diff(scores[np.isfinite(scores).all(axis=1)], axis=1) <= 0).all()


def test_annoy_searches_for_k_plus_the_number_of_exclusions(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: Any) -> Pair:
        raise AssertionError("a row was short")

    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(16), 20)
    best = items[np.argsort(-(queries @ embeddings.T), axis=1)[:, :40]].tolist()
    index = build("annoy", embeddings, items, search_k=100 * N_ITEMS)
    monkeypatch.setattr("model.search.approximate_index.exact_top_k", unexpected)
    assert (index.search(queries, 10, ragged(best))[0] >= 0).all()
    with pytest.raises(AssertionError, match="short"):
        build("annoy", embeddings, items, n_trees=1, search_k=1).search(queries, 30, ragged(best))


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_backends_give_an_item_the_same_score(backend: str) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(3), 50)
    exact, other = (build(kind, embeddings, items).search(queries, 20) for kind in ("exact", backend))
    pairs = [
        {(row, item): score for row in range(50) for item, score in zip(found[row], scores[row], strict=True)}
        for found, scores in (exact, other)
    ]
    common = pairs[0].keys() & pairs[1].keys()
    assert len(common) > 300
    assert all(pairs[0][key] == pairs[1][key] for key in common)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_scores_are_ordered_by_item_index(backend: str) -> None:
    """Three distinct vectors for 600 items: most of the list is tied, and the tie is cut at k."""
    rng = np.random.default_rng(4)
    embeddings = unit(rng, 3)[np.arange(600) % 3]
    items = rng.permutation(600).astype(np.int64)
    queries = unit(rng, 9)
    excluded = ragged([[0, 1, 2, 3]] * 9)
    found, scores = build(backend, embeddings, items, **THOROUGH[backend]).search(queries, 250, excluded)
    expected, expected_scores = brute_force(embeddings, items, queries, 250, excluded)
    assert len(np.unique(expected_scores[0])) == 2
    np.testing.assert_array_equal(scores, expected_scores)
    if backend == "ivf":  # faiss may return any of the tied items
        np.testing.assert_array_equal(np.lexsort((found, -scores), axis=-1), np.tile(np.arange(250), (9, 1)))
    else:
        np.testing.assert_array_equal(found, expected)


def test_results_do_not_depend_on_the_rounding_of_the_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of half the bound on the float32 product must not change any result."""
    embeddings, items = catalogue()
    embeddings[100:400] = embeddings[100] + np.float32(1e-6) * embeddings[100:400]
    queries = np.concatenate([unit(np.random.default_rng(5), 3), embeddings[100:103]])
    expected = build("exact", embeddings, items).search(queries, 50)
    calls: list[int] = []

    def noisy(asked: np.ndarray, matrix: np.ndarray, width: int, metric: int) -> Pair:
        noise = np.random.default_rng(len(calls)).uniform(-1, 1, (len(asked), len(matrix))) * 0.5 * DIMENSION * 2.0**-24
        calls.append(width)
        estimates = (asked @ matrix.T + noise).astype(np.float32)
        best = np.argsort(-estimates, axis=1)[:, :width]
        return np.take_along_axis(estimates, best, axis=1), best

    monkeypatch.setattr(top_k.faiss, "knn", noisy)
    found = build("exact", embeddings, items).search(queries, 50)
    assert len(calls) > 1, "it should have had to look again"
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("k", [20, 60])
@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_results_do_not_depend_on_blocks(order: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, items = catalogue(n_items=300)
    queries = unit(np.random.default_rng(6), 70)
    if order != "random":  # of the first query's scores
        by_score = np.argsort(embeddings @ queries[0])
        embeddings, items = embeddings[by_score if order == "rising" else by_score[::-1]], np.arange(300)
    excluded = some_exclusions(items, queries, embeddings, 40)
    expected = build("exact", embeddings, items).search(queries, k, excluded)
    monkeypatch.setattr(top_k, "VALUES_AT_ONCE", 3_000)
    monkeypatch.setattr(item_index, "QUERIES_AT_ONCE", 11)
    found = build("exact", embeddings, items).search(queries, k, excluded)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_row_that_is_searched_again_keeps_its_own_exclusions() -> None:
    """Items 0 to 299 are one vector, the others differ; queries alternate between the two kinds."""
    rng = np.random.default_rng(15)
    embeddings, items = unit(rng, 400), np.arange(400)
    embeddings[:300] = embeddings[0]
    queries = np.concatenate([np.stack([embeddings[300 + n], embeddings[0]]) for n in range(6)])
    excluded = ragged([[row, row + 1, row + 2, 300 + row] for row in range(12)])
    found, scores = build("exact", embeddings, items).search(queries, 10, excluded)
    expected, expected_scores = brute_force(embeddings, items, queries, 10, excluded)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_alone_gives_the_same_results_as_among_others(backend: str) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(7), 300)  # three blocks of queries
    flat, offsets = excluded = some_exclusions(items, queries, embeddings, 15)
    index = build(backend, embeddings, items)
    found, scores = index.search(queries, 12, excluded)
    for row in (0, 127, 128, 129, 255, 256, 299):
        alone = index.search(queries[row : row + 1], 12, (flat, offsets[row : row + 2]))
        np.testing.assert_array_equal(alone[0][0], found[row])
        np.testing.assert_array_equal(alone[1][0], scores[row])


def test_exact_search_accepts_any_norm() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(12), 5)
    longer = (embeddings * np.linspace(0, 50, N_ITEMS)[:, None]).astype(np.float32)
    found, scores = build("exact", longer, items).search(queries, 9)
    expected, expected_scores = brute_force(longer, items, queries, 9, ragged([[]] * 5))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)
