"""An index as it is built, saved, loaded and measured against the exact one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.search.backends import load_index
from tests.model.search.catalogues import (
    BACKENDS,
    DIMENSION,
    N_ITEMS,
    build,
    catalogue,
    ragged,
    recall_against_exact,
    some_exclusions,
    unit,
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_building_twice_gives_the_same_folder(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    shuffled = np.random.default_rng(8).permutation(N_ITEMS)
    build(backend, embeddings, items).save(tmp_path / "one")
    build(backend, embeddings[shuffled], items[shuffled]).save(tmp_path / "two")
    names, others = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert names == others
    assert len(names) == {"exact": 3, "annoy": 4, "ivf": 5, "ivf in shards": 3 + 2 * 8}[backend]
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


@pytest.mark.parametrize(("backend", "budgets"), [("annoy", (20, 20_000)), ("ivf", (1, 30))])
def test_a_larger_search_budget_finds_more(backend: str, budgets: tuple[int, int]) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(21), 60)
    options = {"lists": 30} if backend == "ivf" else {}
    exact, index = build("exact", embeddings, items), build(backend, embeddings, items, **options)
    low, high = (recall_against_exact(index.with_search_budget(budget), exact, queries, 20) for budget in budgets)
    assert low < 0.9 < high
    assert index.options == build(backend, embeddings, items, **options).options
