"""The parts of a learner that need no training run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from model.towers import TwoTowers
from model.training.learner import standardise
from tests.model.small_world import SPEC


def test_numeric_features_are_standardised_by_the_given_statistics() -> None:
    towers = TwoTowers(SPEC)
    standardise(towers, {"user": {"age": ([44.0], [14.0])}, "item": {"year": ([2000.0], [11.0])}})
    got = [
        tower.embedding(name).get_buffer(buffer).tolist()
        for tower, name in ((towers.user, "age"), (towers.item, "year"))
        for buffer in ("mean", "std")
    ]
    assert got == [[44.0], [14.0], [2000.0], [11.0]]


@pytest.mark.parametrize(
    "stats",
    [
        pytest.param({}, id="none"),
        pytest.param({"age": ([1.0, 2.0], [1.0, 2.0])}, id="too many"),
        pytest.param({"age": ([math.inf], [1.0])}, id="an infinite mean"),
        pytest.param({"age": ([1.0], [math.nan])}, id="no deviation"),
        pytest.param({"age": ([1.0], [0.0])}, id="a deviation of 0"),
    ],
)
def test_invalid_statistics_are_refused(stats: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="user feature age must have 1 finite means and deviations above 0, got"):
        standardise(TwoTowers(SPEC), {"user": stats, "item": {"year": ([2000.0], [11.0])}})
