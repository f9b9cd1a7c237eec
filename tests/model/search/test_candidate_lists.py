"""Lists of warm and cold users, of one channel and of several."""

from __future__ import annotations

import numpy as np
import pytest

from model.search import top_k
from model.search.lists import EXPLORE, POPULAR, TWO_TOWER
from model.search.lists import candidate_lists as candidates
from model.search.lists.candidate_lists import CandidateLists, Quotas
from model.search.lists.channels import Cap
from model.search.lists.popular import PopularItems
from model.search.top_k import dot_products
from tests.model.search.catalogues import brute_force, build, catalogue, ragged, unit

N_USERS, K = 30, 20
EMBEDDINGS, ITEMS = catalogue(n_items=200)
QUERIES = unit(np.random.default_rng(2), N_USERS)
WARM, ALL_USERS = np.zeros(N_USERS, dtype=bool), np.zeros(N_USERS, dtype=np.int64)


def popular() -> PopularItems:
    """The first 40 items are popular with all users; segment 7 has clicked the last five of them."""
    segments = np.repeat([0, 7], [40, 5])
    items = np.concatenate([ITEMS[:40], ITEMS[35:40]])
    shares = np.concatenate([np.linspace(0.2, 0.01, 40), np.linspace(0.9, 0.5, 5)]).astype(np.float32)
    return PopularItems(segments, items, shares)


def lists(quotas: Quotas, **parts: object) -> CandidateLists:
    return CandidateLists(build("exact", EMBEDDINGS, ITEMS), popular(), quotas, **parts)  # type: ignore[arg-type]


def some_left_out() -> tuple[np.ndarray, np.ndarray]:
    best = ITEMS[np.argsort(-(QUERIES @ EMBEDDINGS.T), axis=1)]
    return ragged([row[: 3 * n].tolist() for n, row in enumerate(best)])


def test_without_quotas_a_list_is_the_search() -> None:
    excluded = some_left_out()
    found, scores, sources, _ = lists(Quotas(K)).lists_for(QUERIES, excluded, WARM, ALL_USERS)
    expected, expected_scores = brute_force(EMBEDDINGS, ITEMS, QUERIES, K, excluded)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)
    assert (sources == TWO_TOWER).all()


def test_quotas_are_filled_and_every_score_is_the_dot_product() -> None:
    explored = unit(np.random.default_rng(5), 30)
    excluded = some_left_out()
    parts = {"explore": build("exact", explored, ITEMS[-30:])}
    found, scores, sources, _ = lists(Quotas(K, popular=5, explore=3), **parts).lists_for(
        QUERIES, excluded, WARM, ALL_USERS
    )
    assert (found != -1).all()
    assert all(len(set(row)) == K for row in found.tolist())
    flat, offsets = excluded
    for user in range(N_USERS):
        left_out = set(flat[offsets[user] : offsets[user + 1]].tolist())
        assert not left_out & set(found[user].tolist())
        assert set(found[user][sources[user] == POPULAR].tolist()) <= set(ITEMS[:40].tolist())
        assert set(found[user][sources[user] == EXPLORE].tolist()) <= set(ITEMS[-30:].tolist())
        best = brute_force(EMBEDDINGS, ITEMS, QUERIES[user : user + 1], K - 8, ragged([list(left_out)]))[0][0]
        assert set(best.tolist()) <= set(found[user].tolist())
    counts = np.stack([(sources == source).sum(axis=1) for source in (POPULAR, EXPLORE)])
    assert (counts[1] == 3).all()
    assert counts[0].max() == 5
    vectors = {int(item): vector for item, vector in zip(ITEMS, EMBEDDINGS, strict=True)}
    by_features = {int(item): vector for item, vector in zip(ITEMS[-30:], explored, strict=True)}
    for user, rank in np.ndindex(found.shape):
        embeddings = by_features if sources[user, rank] == EXPLORE else vectors
        assert scores[user, rank] == pytest.approx(float(QUERIES[user] @ embeddings[int(found[user, rank])]), abs=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("most", [1, 3])
def test_a_cap_applies_while_other_items_are_left_and_lists_stay_full(most: int) -> None:
    categories = np.zeros(int(ITEMS.max()) + 1, dtype=np.int64)
    categories[ITEMS] = np.arange(len(ITEMS)) % 12
    excluded = some_left_out()
    found, *_ = lists(Quotas(K), cap=Cap(categories, most)).lists_for(QUERIES, excluded, WARM, ALL_USERS)
    assert (found != -1).all()
    of_category = np.stack([np.bincount(categories[row], minlength=12) for row in found])
    flat, offsets = excluded
    for user in range(N_USERS):
        left = np.setdiff1d(ITEMS, flat[offsets[user] : offsets[user + 1]])
        room = np.minimum(np.bincount(categories[left], minlength=12), most).sum()
        over = np.maximum(of_category[user] - most, 0).sum()
        assert over == max(K - room, 0)


def test_cold_users_get_the_items_of_their_segment_and_then_of_all_users() -> None:
    cold, segments = np.ones(3, dtype=bool), np.array([7, 0, 99])
    found, scores, sources, _ = lists(Quotas(K)).lists_for(QUERIES[:3], ragged([[]] * 3), cold, segments)
    assert (sources == POPULAR).all()
    assert found[0, :5].tolist() == ITEMS[35:40].tolist()
    assert scores[0, :5] == pytest.approx(np.linspace(0.9, 0.5, 5))
    for user in (1, 2):
        assert found[user].tolist() == ITEMS[:K].tolist()
    assert (found != -1).all()


def test_a_segments_items_rank_before_those_of_all_users_however_popular_those_are() -> None:
    segments = np.repeat([0, 7], [40, 5])
    items = np.concatenate([ITEMS[:40], ITEMS[35:40]])
    shares = np.concatenate([np.linspace(0.2, 0.01, 40), np.full(5, 0.05)]).astype(np.float32)
    made = CandidateLists(build("exact", EMBEDDINGS, ITEMS), PopularItems(segments, items, shares), Quotas(K))
    found, scores, *_ = made.lists_for(QUERIES[:1], ragged([[]]), np.ones(1, dtype=bool), np.array([7]))
    assert set(found[0, :5]) == set(ITEMS[35:40])
    assert (scores[0, 5:] <= 0.05).all()
    assert set(found[0, 5:]) == set(ITEMS[: K - 5])


def test_a_user_with_many_exclusions_widens_no_other_users_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """An approximate search scores more candidates only for the user with many exclusions."""
    looked_at: list[int] = []

    def counted(queries: np.ndarray, matrix: np.ndarray, positions: np.ndarray) -> np.ndarray:
        looked_at.append(positions.size)
        return dot_products(queries, matrix, positions)

    monkeypatch.setattr(top_k, "dot_products", counted)
    index = build("ivf", EMBEDDINGS, ITEMS)
    light = ragged([[]] * (N_USERS - 1) + [ITEMS[:2].tolist()])
    heavy = ragged([[]] * (N_USERS - 1) + [ITEMS[:150].tolist()])
    for excluded in (light, heavy):
        index.search(QUERIES, K, excluded)
    assert sum(looked_at[1:]) < looked_at[0] + len(ITEMS)


def test_users_are_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    categories = np.zeros(int(ITEMS.max()) + 1, dtype=np.int64)
    categories[ITEMS] = np.arange(len(ITEMS)) % 12
    excluded, capped = some_left_out(), lists(Quotas(K), cap=Cap(categories, 2))
    expected = capped.lists_for(QUERIES, excluded, WARM, ALL_USERS)
    monkeypatch.setattr(candidates, "VALUES_AT_ONCE", 7 * K)
    for some, whole in zip(capped.lists_for(QUERIES, excluded, WARM, ALL_USERS), expected, strict=True):
        np.testing.assert_array_equal(some, whole)


def test_cold_and_warm_users_stay_in_their_rows() -> None:
    cold = np.arange(N_USERS) % 3 == 0
    excluded = some_left_out()
    found, _, sources, _ = lists(Quotas(K)).lists_for(QUERIES, excluded, cold, ALL_USERS)
    expected, _ = brute_force(EMBEDDINGS, ITEMS, QUERIES, K, excluded)
    np.testing.assert_array_equal(found[~cold], expected[~cold])
    assert (sources[cold] == POPULAR).all()


def test_popular_items_must_have_a_list_of_all_users() -> None:
    with pytest.raises(ValueError, match="a list for segment 0, got \\[7\\]"):
        PopularItems(np.array([7]), np.array([3]), np.array([1.0], dtype=np.float32))
