"""Items with the same vector are found as any others, and as fast: by score, then by item."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from model.features import repeated_rows
from model.features.repeated_rows import find_repeats
from model.search import top_k
from model.search.exact_index import ExactIndex

QUERIES, DIM = 20, 8


def vectors(random: np.random.Generator, items: int, distinct: int) -> np.ndarray:
    return random.standard_normal((distinct, DIM)).astype(np.float32)[random.integers(distinct, size=items)]


def by_sorting(queries: np.ndarray, matrix: np.ndarray, k: int, excluded: list[np.ndarray]) -> np.ndarray:
    scores = (queries.astype(np.float64) @ matrix.T.astype(np.float64)).astype(np.float32)
    found = np.full((len(queries), k), -1)
    for row, own in enumerate(excluded):
        order = np.lexsort((np.arange(len(matrix)), -scores[row]))
        allowed = order[~np.isin(order, own)][:k]
        found[row, : len(allowed)] = allowed
    return found


@pytest.mark.parametrize("distinct", [1, 2, 30, 1_500])
@pytest.mark.parametrize("k", [1, 40])
@pytest.mark.parametrize("many", [2, 256])
def test_the_best_items_are_those_of_a_sort(many: int, k: int, distinct: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_rows, "MANY_REPEATS", many)
    monkeypatch.setattr(top_k, "EXPANDED_AT_ONCE", 10_000)  # several parts
    for seed in range(4):
        random = np.random.default_rng([seed, k, distinct])
        matrix = vectors(random, 2_000, distinct)
        matrix[random.random(2_000) < 0.3 * (seed % 2)] = 0.0
        queries = random.standard_normal((QUERIES, DIM)).astype(np.float32)
        queries[::4] = 0.0
        excluded = [np.unique(random.integers(2_000, size=n)) for n in random.integers(0, 60, size=QUERIES)]
        index = ExactIndex.build(matrix, np.arange(2_000), model_version="test")
        offsets = np.append(0, np.cumsum([len(own) for own in excluded]))
        found, scores = index.search(queries, k, (np.concatenate(excluded), offsets))
        assert np.array_equal(found, by_sorting(queries, matrix, k, excluded))
        exact = (queries[:, None].astype(np.float64) * matrix[found].astype(np.float64)).sum(axis=2)
        assert np.array_equal(scores, exact.astype(np.float32))


def test_a_search_does_not_widen_to_all_items_of_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of items without a click that have no features: the search took half a microsecond a pair."""
    random, widths = np.random.default_rng(1), []
    knn = faiss.knn

    def counted(queries: np.ndarray, matrix: np.ndarray, k: int, **options: int) -> object:
        widths.append(k)
        return knn(queries, matrix, k, **options)

    monkeypatch.setattr(top_k.faiss, "knn", counted)
    index = ExactIndex.build(vectors(random, 5_000, 1), np.arange(5_000), model_version="test")
    found, _ = index.search(random.standard_normal((QUERIES, DIM)).astype(np.float32), 10)
    assert np.array_equal(found, np.tile(np.arange(10), (QUERIES, 1)))
    index = ExactIndex.build(vectors(random, 5_000, 5_000), np.arange(5_000), model_version="test")
    found, _ = index.search(np.zeros((QUERIES, DIM), dtype=np.float32), 10)
    assert np.array_equal(found, np.tile(np.arange(10), (QUERIES, 1)))
    assert max(widths) < 100


def test_the_distinct_vectors_have_their_items(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    matrix = vectors(random, 300, 40)
    assert find_repeats(matrix) is None, "too few to be worth it"
    monkeypatch.setattr(repeated_rows, "MANY_REPEATS", 2)
    repeats = find_repeats(matrix)
    assert repeats is not None
    groups = [repeats.items[start:stop] for start, stop in zip(repeats.starts[:-1], repeats.starts[1:], strict=True)]
    assert np.array_equal([group[0] for group in groups], np.sort([group.min() for group in groups]))
    for vector, group in zip(repeats.vectors, groups, strict=True):
        assert np.array_equal(group, np.flatnonzero((matrix == vector).all(axis=1)))
    assert sum(map(len, groups)) == 300
    assert find_repeats(repeats.vectors) is None
    assert find_repeats(matrix[:1]) is None
