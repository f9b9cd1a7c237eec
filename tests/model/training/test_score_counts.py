"""What is counted of the lists for held-out clicks, compared with lists that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from model.features.ragged import Ragged
from model.search.lists import SOURCES
from model.search.lists.candidate_lists import CandidateLists, Lists, Quotas
from model.search.lists.neighbours import ItemNeighbours
from model.training.validation.score_counts import HeldOutLists
from model.training.validation.score_maps import COUNTED, HITS, SHARES, TRIALS
from tests.model.search.catalogues import unit

N_ITEMS, B, K, T = 50, 40, 10, 0.2
RNG = np.random.default_rng(0)
ITEMS, VECTORS = np.arange(2, 2 + N_ITEMS), unit(RNG, N_ITEMS)
SHARES_OF_CLICKS = np.where(np.arange(N_ITEMS) < 45, np.linspace(2, 1, N_ITEMS), 0)
BY_FEATURES, QUERIES = unit(RNG, 5), unit(RNG, B)
CLICKED = RNG.integers(2, 2 + N_ITEMS, B)
HISTORY = np.where(np.arange(B)[:, None] % 4 == 0, 0, RNG.integers(2, 2 + N_ITEMS, (B, 3)))


def counts(
    quotas: Quotas,
    *,
    hide_history: bool = True,
    history: np.ndarray = HISTORY,
    neighbours: ItemNeighbours | None = None,
) -> dict[str, np.ndarray]:
    lists = HeldOutLists(ITEMS, VECTORS, SHARES_OF_CLICKS, BY_FEATURES, quotas, T, neighbours)
    found = lists.counts(QUERIES, CLICKED, history, hide_history=hide_history)
    return dict(zip(COUNTED, found, strict=True))


@pytest.mark.parametrize("hide_history", [True, False])
def test_candidates_and_hits_are_those_of_lists_made_by_hand(hide_history: bool) -> None:
    found = counts(Quotas(K), hide_history=hide_history)
    trials, hits, shares = 0, 0, 0.0
    for row in range(B):
        out = set(HISTORY[row].tolist()) if hide_history else set()
        if not HISTORY[row].any() or CLICKED[row] in out:
            continue
        scores = {int(item): float(QUERIES[row] @ VECTORS[n]) / T for n, item in enumerate(ITEMS) if item not in out}
        best = sorted(scores, key=lambda item: -scores[item])[:K]
        total = sum(np.exp(scores[item]) for item in best)
        trials += K
        hits += int(CLICKED[row] in best)
        shares += sum(np.exp(scores[item]) / total for item in best)
    assert found["two_tower"][TRIALS].sum() == trials
    assert found["two_tower"][HITS].sum() == hits
    assert found["two_tower"][SHARES].sum() == pytest.approx(shares, rel=1e-4)


def test_cold_users_get_popular_items_and_every_click_counts_for_everyone() -> None:
    found = counts(Quotas(K))
    cold = ~HISTORY.any(axis=1)
    listed = ~(CLICKED[:, None] == HISTORY).any(axis=1)
    popular = np.isin(CLICKED, ITEMS[:K])
    assert found["cold"][TRIALS].sum() == cold.sum() * K
    assert found["cold"][HITS].sum() == (popular & cold).sum()
    assert found["everyone"][HITS].sum() == (popular & listed).sum() > (popular & cold).sum()
    unknown = counts(Quotas(K), history=np.empty((B, 0), dtype=np.int64))
    assert unknown["cold"][TRIALS].sum() == 0
    assert unknown["two_tower"][TRIALS].sum() == B * K


def test_clicks_of_cold_users_alone_are_counted_without_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    lists_for = CandidateLists.lists_for

    def counted(self: CandidateLists, queries: np.ndarray, excluded: Ragged, cold: np.ndarray, *more: object) -> Lists:
        asked.append((~cold).sum())
        return lists_for(self, queries, excluded, cold, *more)

    monkeypatch.setattr(CandidateLists, "lists_for", counted)
    found = counts(Quotas(K), history=np.zeros_like(HISTORY))
    assert sum(asked) == 0
    assert found["cold"][TRIALS].sum() == found["everyone"][TRIALS].sum() == B * K
    assert not any(found[source][TRIALS].sum() for source in SOURCES)


def test_channels_without_a_quota_are_counted_and_take_no_place_of_the_search() -> None:
    plain, quotas = counts(Quotas(K)), counts(Quotas(K, popular=4, explore=2))
    warm = (HISTORY.any(axis=1) & ~(CLICKED[:, None] == HISTORY).any(axis=1)).sum()
    assert plain["two_tower"][TRIALS].sum() == warm * K
    assert plain["popular"][TRIALS].sum() == warm
    assert plain["explore"][TRIALS].sum() == warm
    assert quotas["popular"][TRIALS].sum() == warm * 4
    assert quotas["explore"][TRIALS].sum() == warm * 2
    assert quotas["two_tower"][TRIALS].sum() == warm * (K - 6)


def test_neighbours_of_the_history_are_counted_as_a_channel_of_their_own() -> None:
    """Each item's only neighbour is the item that the user clicks next, so nearly all candidates are hits."""
    quota, warm = Quotas(K, neighbours=1), HISTORY.any(axis=1)
    none = counts(quota)
    assert none["neighbours"][TRIALS].sum() == 0
    listed = warm & ~(CLICKED[:, None] == HISTORY).any(axis=1)
    assert none["two_tower"][TRIALS].sum() == listed.sum() * K
    newest = HISTORY[:, -1]  # [B]
    nearest = {int(item): int(click) for item, click in zip(newest[listed], CLICKED[listed], strict=True)}
    lengths = np.isin(np.arange(2 + N_ITEMS), list(nearest)).astype(np.int64)
    items = np.array([nearest[item] for item in sorted(nearest)])
    near = ItemNeighbours(Ragged(items, np.append(0, np.cumsum(lengths))), np.ones(len(items)), clicks=1, decay=1.0)
    found = counts(quota, neighbours=near)["neighbours"]
    exact = listed & (np.array([nearest.get(int(item), 0) for item in newest]) == CLICKED)
    assert 0 < found[HITS].sum() <= exact.sum()
    assert found[TRIALS].sum() <= listed.sum()
    assert found[HITS].sum() > 0.7 * found[TRIALS].sum()
