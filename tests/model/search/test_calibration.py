"""One scale for the scores of all channels, computed from log shares by the map of each channel."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from model.search.lists import EXPLORE, POPULAR, TWO_TOWER
from model.search.lists.calibration import IDENTITY, Calibration, ScoreMap
from model.search.lists.candidate_lists import CandidateLists, Lists, Quotas
from model.search.lists.popular import PopularItems
from tests.model.search.catalogues import build, catalogue, ragged, unit

MAPS = (
    ScoreMap((-5.0, -1.0), (-6.0, -2.0)),
    ScoreMap((-5.0, 0.0), (-8.0, -1.0)),
    ScoreMap((-3.0,), (-4.5,)),
    ScoreMap((-4.0, 0.0), (-7.0, -1.5)),
    ScoreMap((-9.0, 0.0), (-9.0, -0.5)),
)
FITTED = Calibration(temperature=0.1, list_length=3, maps=MAPS)
N_USERS, K = 30, 12
EMBEDDINGS, ITEMS = catalogue(n_items=60)
QUERIES = unit(np.random.default_rng(2), N_USERS)


def lists(calibration: Calibration, *, order_by_score: bool = False) -> Lists:
    """Lists of every channel; every third user is cold."""
    popular = PopularItems(np.zeros(20, dtype=int), ITEMS[:20], np.linspace(0.2, 0.001, 20).astype(np.float32))
    explore = build("exact", unit(np.random.default_rng(5), 10), ITEMS[-10:])
    index = build("exact", EMBEDDINGS, ITEMS)
    made = CandidateLists(
        index, popular, Quotas(K, 3, 2), explore, calibration=calibration, order_by_score=order_by_score
    )
    excluded = ragged([ITEMS[: 2 * user].tolist() for user in range(N_USERS)])
    return made.lists_for(QUERIES, excluded, np.arange(N_USERS) % 3 == 0, np.zeros(N_USERS, dtype=np.int64))


def test_a_score_is_the_map_of_the_log_of_the_items_share_of_the_users_softmax() -> None:
    found = lists(FITTED)
    vectors = {int(item): vector for item, vector in zip(ITEMS, EMBEDDINGS, strict=True)}
    assert {TWO_TOWER, POPULAR, EXPLORE} == set(found.sources.ravel().tolist())
    for user in range(N_USERS):
        allowed = [vectors[int(item)] for item in ITEMS[2 * user :]]
        best = sorted((math.fsum(QUERIES[user] * vector) / 0.1 for vector in allowed), reverse=True)[:3]
        total = math.log(math.fsum(map(math.exp, best)))
        for item, score, source, got in zip(*(array[user] for array in found), strict=True):
            if item == -1:
                assert np.isneginf(got)
                continue
            share = math.log(score) if user % 3 == 0 else score / 0.1 - total
            points = MAPS[4 if user % 3 == 0 else source]
            assert got == pytest.approx(math.exp(np.interp(share, points.log_shares, points.log_probs)), rel=1e-4)


def falls(scores: np.ndarray) -> bool:
    return bool((scores[:, 1:] <= scores[:, :-1]).all())


def test_the_order_of_a_list_changes_only_on_request() -> None:
    plain, shares, ordered = lists(FITTED), lists(Calibration(0.1, 3)), lists(FITTED, order_by_score=True)
    np.testing.assert_array_equal(plain.items, shares.items)
    assert falls(plain.channel_scores)
    assert not falls(plain.scores)
    assert falls(ordered.scores)
    np.testing.assert_array_equal(np.sort(ordered.items, axis=1), np.sort(plain.items, axis=1))
    for user in range(N_USERS):  # each item keeps its scores and its source
        assert sorted(zip(*(a[user] for a in ordered), strict=True)) == sorted(
            zip(*(a[user] for a in plain), strict=True)
        )


def test_without_a_fitted_map_a_score_is_the_share() -> None:
    found = lists(Calibration(0.1, K))
    assert not Calibration(0.1, K).is_fitted
    assert FITTED.is_fitted
    cold = np.arange(N_USERS) % 3 == 0
    np.testing.assert_allclose(found.scores[cold], found.channel_scores[cold], rtol=1e-4)
    warm = found.scores[~cold][found.items[~cold] != -1]
    assert ((warm > 0) & (warm <= 1)).all()


def test_a_user_without_a_possible_item_has_no_score() -> None:
    index = build("exact", EMBEDDINGS, ITEMS)
    popular = PopularItems(np.zeros(1, dtype=int), ITEMS[:1], np.ones(1, dtype=np.float32))
    made = CandidateLists(index, popular, Quotas(K, 2), calibration=FITTED)
    nobody = made.lists_for(QUERIES[:1], ragged([ITEMS.tolist()]), np.zeros(1, dtype=bool), np.zeros(1, dtype=np.int64))
    assert (nobody.items == -1).all()
    assert np.isneginf(nobody.scores).all()


def test_a_calibration_survives_json() -> None:
    read = Calibration.from_json(json.loads(json.dumps(FITTED.to_json())))
    assert read == FITTED
    assert read.digest == FITTED.digest != Calibration(0.1, 3).digest


@pytest.mark.parametrize(
    ("shares", "probs"),
    [((), ()), ((-1.0,), (-1.0, 0.0)), ((-1.0, -2.0), (-3.0, -2.0)), ((-2.0, -1.0), (-2.0, -3.0)),
     ((-1.0,), (0.1,)), ((math.nan,), (-1.0,)), ((-1.0,), (-math.inf,))],
)  # fmt: skip
def test_a_map_that_is_no_rising_function_is_refused(shares: tuple[float, ...], probs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"a score map must have finite points in ascending order|zip\(\)"):
        ScoreMap(shares, probs)


@pytest.mark.parametrize("change", [{"temperature": 0}, {"list_length": 0}, {"maps": {}}, {"temperature": None}])
def test_a_damaged_calibration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a calibration must have a temperature"):
        Calibration.from_json(FITTED.to_json() | change)


def test_the_identity_is_the_share_itself() -> None:
    shares = np.array([1e-20, 1e-6, 0.5, 1.0])
    np.testing.assert_allclose(IDENTITY.probabilities(np.log(shares)), shares, rtol=1e-5)
