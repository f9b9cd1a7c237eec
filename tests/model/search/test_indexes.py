"""Every index backend against brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.search import item_index, top_k
from model.search.backends import build_index, load_index
from tests.model.search.catalogues import (
    BACKENDS,
    DIMENSION,
    N_ITEMS,
    THOROUGH,
    Pair,
    brute_force,
    build,
    catalogue,
    changed,
    ragged,
    recall_against_exact,
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
    if backend == "ivf":  # faiss may name any of the tied items
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_building_twice_gives_the_same_folder(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    shuffled = np.random.default_rng(8).permutation(N_ITEMS)
    build(backend, embeddings, items).save(tmp_path / "one")
    build(backend, embeddings[shuffled], items[shuffled]).save(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert len(names) == {"exact": 3, "annoy": 4, "ivf": 5}[backend]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_another_seed_grows_another_forest(tmp_path: Path) -> None:
    for seed in (1, 2):
        build("annoy", *catalogue(), seed=seed).save(tmp_path / str(seed))
    assert (tmp_path / "1" / "trees.ann").read_bytes() != (tmp_path / "2" / "trees.ann").read_bytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_indexes_and_empty_queries(backend: str, tmp_path: Path) -> None:
    queries = unit(np.random.default_rng(9), 2)
    build(backend, np.empty((0, DIMENSION), np.float32), np.empty(0, np.int64)).save(tmp_path / "empty")
    empty = load_index(tmp_path / "empty")
    found, scores = empty.search(queries, 3, ragged([[1], [2]]))
    assert len(empty) == 0
    assert (found == -1).all()
    assert np.isneginf(scores).all()
    assert found.shape == scores.shape == (2, 3)
    found, scores = build(backend, *catalogue()).search(queries[:0], 3)
    assert found.shape == scores.shape == (0, 3)
    one = build(backend, queries[:1], np.array([7]))
    assert one.search(queries, 2)[0].tolist() == [[7, -1], [7, -1]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loaded_index_is_the_saved_one(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(10), 20)
    excluded = some_exclusions(items, queries, embeddings, 20)
    index = build(backend, embeddings, items)
    index.save(tmp_path / "deep" / "index")
    loaded = load_index(str(tmp_path / "deep" / "index"), "v1")
    assert type(loaded) is type(index)
    assert (loaded.backend, loaded.is_exact) == (backend, backend == "exact")
    assert (loaded.model_version, loaded.dimension, len(loaded)) == ("v1", DIMENSION, N_ITEMS)
    for ours, theirs in zip(index.search(queries, 15, excluded), loaded.search(queries, 15, excluded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not loaded.matrix.flags.writeable
    assert isinstance(loaded.matrix.base, np.memmap), "workers should share its pages"


def test_recall_against_exact() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(11), 60)
    exact, weak = build("exact", embeddings, items), build("annoy", embeddings, items, n_trees=1, search_k=30)
    excluded = some_exclusions(items, queries, embeddings, 20)
    found, expected = (index.search(queries, 10, excluded)[0] for index in (weak, exact))
    by_hand = [
        len(set(ours) & set(theirs) - {-1}) / len(set(theirs) - {-1})
        for ours, theirs in zip(found, expected, strict=True)
        if theirs[0] >= 0
    ]
    assert len(by_hand) == 52
    assert 0 < np.mean(by_hand) < 1
    assert recall_against_exact(weak, exact, queries, 10, excluded) == pytest.approx(np.mean(by_hand))
    assert recall_against_exact(exact, exact, queries, 10, excluded) == 1
    assert recall_against_exact(exact, exact, queries, N_ITEMS + 5, excluded) == 1
    assert np.isnan(recall_against_exact(weak, exact, queries[:0], 10))
    with pytest.raises(ValueError, match="exact"):
        recall_against_exact(exact, weak, queries, 10)
    with pytest.raises(ValueError, match="items"):
        recall_against_exact(weak, build("exact", embeddings[1:], items[1:]), queries, 10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda e, i: (e.astype(np.float64), i), "embeddings must be float32.*got float64"),
        (lambda e, i: (e[0], i), "embeddings must be"),
        (lambda e, i: (changed(e, np.nan), i), "got norm nan"),
        (lambda e, i: (e, i[1:]), r"item_indices must be int64 \[700\], got int64 \[699\]"),
        (lambda e, i: (e, i.astype(np.int32)), "got int32"),
        (lambda e, i: (e, changed(i, -1)), "at least 0, got -1"),
        (lambda e, i: (e, changed(i, i[5])), "unique and ascending"),
    ],
)
def test_wrong_catalogues_are_refused(backend: str, alter: Callable[..., Pair], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(backend, *alter(*catalogue()))


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_approximate_backends_require_unit_norm(backend: str) -> None:
    embeddings, items = catalogue()
    build(backend, embeddings * np.float32(1.0005), items)
    with pytest.raises(ValueError, match=r"of norm 1, got norm 1\.002"):
        build(backend, embeddings * np.float32(1.002), items)


def test_exact_search_accepts_any_norm() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(12), 5)
    longer = (embeddings * np.linspace(0, 50, N_ITEMS)[:, None]).astype(np.float32)
    found, scores = build("exact", longer, items).search(queries, 9)
    expected, expected_scores = brute_force(longer, items, queries, 9, ragged([[]] * 5))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize(
    ("queries", "k", "excluded", "message"),
    [
        (np.zeros((2, 5), np.float32), 3, None, r"queries must be float32 \[N, 16\], got float32 \[2, 5\]"),
        (np.zeros((2, 16)), 3, None, "got float64"),
        (np.full((2, 16), np.nan, np.float32), 3, None, "finite"),
        (np.zeros((2, 16), np.float32), 0, None, "k must be at least 1, got 0"),
        (np.zeros((2, 16), np.float32), 3, ragged([[1]]), "excluded must have 3 offsets for 2 rows, got 2"),
        (
            np.zeros((2, 16), np.float32),
            3,
            (np.array([1]), np.array([0, 1, 2])),
            "excluded must have ascending offsets",
        ),
    ],
)
def test_wrong_searches_are_refused(queries: np.ndarray, k: int, excluded: Pair | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("exact", *catalogue()).search(queries, k, excluded)


def test_wrong_names_and_options_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"index\.backend must be one of \['annoy', 'exact', 'ivf'\] or .*, got 'faiss'"
    ):
        build("faiss", *catalogue())
    with pytest.raises(ValueError, match="model_version must be a non-empty string, got ''"):
        build_index("exact", *catalogue(), model_version="")
    wrong = {"annoy": [{"n_trees": 0}, {"n_trees": 2.0}, {"search_k": 0}, {"seed": -1}]}
    wrong["ivf"] = [{"lists": -1}, {"probes": 0}, {"probes": True}, {"seed": 2**31}]
    for backend, options in wrong.items():
        for option in options:
            with pytest.raises(ValueError, match=f"{next(iter(option))} must be a whole number of at least"):
                build(backend, *catalogue(), **option)  # type: ignore[arg-type]


@pytest.mark.parametrize(("backend", "budgets"), [("annoy", (20, 20_000)), ("ivf", (1, 30))])
def test_a_larger_search_budget_finds_more(backend: str, budgets: tuple[int, int]) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(21), 60)
    options = {"lists": 30} if backend == "ivf" else {}
    exact, index = build("exact", embeddings, items), build(backend, embeddings, items, **options)
    low, high = (recall_against_exact(index.with_search_budget(budget), exact, queries, 20) for budget in budgets)
    assert low < 0.9 < high
    assert index.options == build(backend, embeddings, items, **options).options
