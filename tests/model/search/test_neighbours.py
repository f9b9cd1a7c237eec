"""The channel of neighbours: which items it names, and how they enter the lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from model.features.ragged import Ragged
from model.search.lists import NEIGHBOURS, POPULAR, TWO_TOWER
from model.search.lists import neighbours as module
from model.search.lists.calibration import IDENTITY, Calibration, ScoreMap
from model.search.lists.candidate_lists import CandidateLists, Quotas
from model.search.lists.channels import Cap
from model.search.lists.neighbours import ItemNeighbours, item_neighbours
from model.search.lists.popular import PopularItems
from tests.model.search.catalogues import build, catalogue, ragged, unit

N_USERS, K = 40, 20
EMBEDDINGS, ITEMS = catalogue(n_items=200)
QUERIES = unit(np.random.default_rng(2), N_USERS)
WARM, ALL_USERS = np.zeros(N_USERS, dtype=bool), np.zeros(N_USERS, dtype=np.int64)
TYPE = pa.list_(pa.struct([("item_index", pa.int32()), ("similarity", pa.float32())]))
Lists = dict[int, list[tuple[int, float]]]


def table(lists: Lists) -> pa.Table:
    """Rows of item_neighbours, in the order of `lists`."""
    rows = [[{"item_index": item, "similarity": worth} for item, worth in found] for found in lists.values()]
    return pa.table({"item_index": pa.array(list(lists), pa.int32()), "neighbours": pa.array(rows, TYPE)})


def made(lists: Lists, clicks: int = 3, decay: float = 0.5) -> ItemNeighbours:
    return item_neighbours(table(lists), clicks, decay)


def some_lists() -> tuple[Lists, list[list[int]], list[list[int]]]:
    """Neighbours of most items, and the history and the exclusions of each user."""
    rng = np.random.default_rng(4)
    items = {int(item): rng.choice(ITEMS, int(rng.integers(0, 30)), replace=False) for item in ITEMS[:180]}
    lists = {item: [(int(one), float(rng.integers(1, 9)) / 8) for one in found] for item, found in items.items()}
    histories = [rng.choice(ITEMS, int(rng.integers(0, 8))).tolist() for _ in range(N_USERS)]
    excluded = [[*history, *rng.choice(ITEMS, 20).tolist(), 10**9] for history in histories]
    return lists, histories, excluded


def by_hand(lists: Lists, history: list[int], excluded: list[int], clicks: int, decay: float) -> list[int]:
    worth: dict[int, float] = {}
    for later, click in enumerate(reversed(history[-clicks:])):
        for item, similarity in lists.get(click, []):
            worth[item] = worth.get(item, 0.0) + decay**later * similarity
    return sorted((item for item in worth if item not in excluded), key=lambda item: (-worth[item], item))


def test_similarities_to_the_last_clicks_are_added_with_less_weight_for_older_ones() -> None:
    near = made({5: [(9, 0.8), (7, 0.4)], 6: [(7, 0.5), (8, 0.3)], 4: [(10, 1.0)]}, clicks=2, decay=0.5)
    history, nothing = Ragged(*ragged([[4, 5, 6], [6], [], [99]])), Ragged(*ragged([[]] * 4))
    # the first user: 7 has .5 + .5 * .4 = .7; 9 has .5 * .8 = .4; 8 has .3; the click on 4 is too old
    expected = [[7, 9, 8, -1], [7, 8, -1, -1], [-1] * 4, [-1] * 4]
    assert near.best(history, nothing, 4).tolist() == expected
    assert near.best(history, Ragged(*ragged([[9], [], [], []])), 2).tolist() == [[7, 8], [7, 8], [-1, -1], [-1, -1]]


def test_equal_items_come_by_their_index_and_a_click_twice_counts_twice() -> None:
    near = made({5: [(9, 0.5), (3, 0.5)], 6: [(4, 0.75)]}, decay=1.0)
    assert near.best(Ragged(*ragged([[5]])), Ragged(*ragged([[]])), 3).tolist() == [[3, 9, -1]]
    assert near.best(Ragged(*ragged([[5, 6, 5]])), Ragged(*ragged([[]])), 3).tolist() == [[3, 9, 4]]


@pytest.mark.parametrize("pairs_at_once", [1 << 20, 300])
def test_the_best_items_are_those_found_by_a_loop(pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", pairs_at_once)
    lists, histories, excluded = some_lists()
    found = made(lists).best(Ragged(*ragged(histories)), Ragged(*ragged(excluded)), 25)
    for row, history, left_out in zip(found.tolist(), histories, excluded, strict=True):
        assert [item for item in row if item != -1] == by_hand(lists, history, left_out, 3, 0.5)[:25]
    assert (found != -1).sum() > 10 * N_USERS


def test_without_neighbours_nothing_is_found() -> None:
    assert made({}).best(Ragged(*ragged([[5], []])), Ragged(*ragged([[], []])), 3).tolist() == [[-1] * 3] * 2


def lists_of(quotas: Quotas, near: ItemNeighbours | None, **parts: object) -> CandidateLists:
    popular = PopularItems(np.zeros(40, dtype=int), ITEMS[:40], np.linspace(0.2, 0.01, 40).astype(np.float32))
    return CandidateLists(build("exact", EMBEDDINGS, ITEMS), popular, quotas, neighbours=near, **parts)  # type: ignore[arg-type]


def test_the_quota_is_filled_with_the_best_neighbours_that_the_search_has_not_found() -> None:
    lists, histories, excluded = some_lists()
    lists = {item: [*found, (max(ITEMS.tolist()) + 1, 9.0)] for item, found in lists.items()}  # not in the index
    users = QUERIES, ragged(excluded), WARM, ALL_USERS, ragged(histories)
    found, scores, sources, _ = lists_of(Quotas(K, popular=2, neighbours=5), made(lists)).lists_for(*users)
    assert (found != -1).all()
    assert all(len(set(row)) == K for row in found.tolist())
    towers = lists_of(Quotas(K - 7), None).lists_for(*users).items
    vectors = {int(item): vector for item, vector in zip(ITEMS, EMBEDDINGS, strict=True)}
    for user in range(N_USERS):
        assert not set(found[user].tolist()) & set(excluded[user])
        best = [item for item in by_hand(lists, histories[user], excluded[user], 3, 0.5) if item in vectors]
        fresh = [item for item in best if item not in towers[user]][:5]
        assert set(found[user][sources[user] == NEIGHBOURS].tolist()) == set(fresh)
        assert set(towers[user].tolist()) <= set(found[user][sources[user] == TWO_TOWER].tolist())
        for item, score in zip(found[user], scores[user], strict=True):
            assert score == pytest.approx(float(QUERIES[user] @ vectors[int(item)]), abs=1e-6)
    counts = (sources == NEIGHBOURS).sum(axis=1)
    assert counts.max() == 5 > counts.min()  # the search fills what a user without neighbours leaves
    assert ((sources == POPULAR).sum(axis=1) == 2).all()
    assert (np.diff(scores, axis=1) <= 0).all()


def test_the_cap_on_categories_holds_for_neighbours() -> None:
    lists, histories, excluded = some_lists()
    categories = np.zeros(int(ITEMS.max()) + 1, dtype=np.int64)
    categories[ITEMS] = np.arange(len(ITEMS)) % 12
    capped = lists_of(Quotas(K, neighbours=8), made(lists), cap=Cap(categories, 3))
    found, _, sources, _ = capped.lists_for(QUERIES, ragged(excluded), WARM, ALL_USERS, ragged(histories))
    assert (found != -1).all()
    assert max(int(np.bincount(categories[row]).max()) for row in found) == 3
    assert (sources == NEIGHBOURS).sum(axis=1).max() == 8


def test_without_neighbours_or_history_the_search_fills_the_quota() -> None:
    lists, histories, excluded = some_lists()
    users = QUERIES, ragged(excluded), WARM, ALL_USERS
    plain = lists_of(Quotas(K), None).lists_for(*users)
    for other in (
        lists_of(Quotas(K, neighbours=5), None).lists_for(*users, ragged(histories)),
        lists_of(Quotas(K, neighbours=5), made({})).lists_for(*users, ragged(histories)),
        lists_of(Quotas(K, neighbours=5), made(lists)).lists_for(*users),
    ):
        for expected, got in zip(plain, other, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_calibration_of_a_model_without_the_channel_has_the_map_of_the_towers_for_it() -> None:
    towers = ScoreMap((-5.0, -1.0), (-6.0, -2.0))
    older = Calibration(0.1, 3, (towers, IDENTITY, IDENTITY, IDENTITY, IDENTITY)).to_json()
    del older["maps"]["neighbours"]
    assert Calibration.from_json(older).maps == (towers, IDENTITY, IDENTITY, towers, IDENTITY)
