"""The comparison of two settings: what is a difference beyond the noise of seeds, and the rule of a trial's end."""

from __future__ import annotations

import datetime as dt
import tomllib
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.config.loading import load_config
from jobs.config.tuning import TakeOver
from jobs.tune_two_tower import overlay_of
from jobs.tuning.adoption.records import Overlay
from jobs.tuning.comparison import Comparison, Side, next_step
from jobs.tuning.protocol import Measured, TrialFailed
from jobs.tuning.search import Base


def side(*judged: float) -> Side:
    """Runs of two epochs; the users who choose prefer the second."""
    return Side([Measured([0.1, 0.2], [9.0, value], 50, 60) for value in judged])


def test_the_epoch_is_chosen_on_other_users_than_those_who_judge() -> None:
    assert side(0.5).values == [0.5]
    assert side(0.5).epochs == 2


def test_a_difference_within_the_noise_of_seeds_is_called_so() -> None:
    noisy = Comparison(side(0.10, 0.20, 0.30), side(0.15, 0.25, 0.35))
    assert noisy.difference == pytest.approx(0.05)
    assert noisy.standard_error == pytest.approx((0.1**2 + 0.1**2) ** 0.5 / 3**0.5)
    assert not noisy.is_clear
    assert "within the noise of seeds" in noisy.text("ndcg")
    clear = Comparison(side(0.10, 0.11, 0.12), side(0.20, 0.21, 0.22))
    assert clear.is_clear
    assert "more than the noise of seeds" in clear.text("ndcg")
    worse = Comparison(side(0.20, 0.21, 0.22), side(0.10, 0.11, 0.12))
    assert not worse.is_clear


def test_one_seed_shows_no_noise() -> None:
    alone = Comparison(side(0.1), side(0.2))
    assert not alone.is_clear
    assert "one seed does not show its noise" in alone.text("ndcg")
    assert "on 60 clicks" in alone.text("ndcg")
    assert "run the same command with --seeds 3" in next_step(alone, "gate", dt.date(2026, 1, 31), None)


@pytest.mark.parametrize(
    ("chosen", "take_over", "variant", "said"),
    [
        (side(0.1, 0.1), "gate", None, "keep today's settings"),
        (side(0.3, 0.3), "by_hand", None, "adopt-tuning --lake LAKE --ds 2026-01-31"),
        (side(0.3, 0.3), "gate", None, "the next day tries the settings"),
        (side(0.3, 0.3), "never", None, "pass overlay.toml with --config"),
        (side(0.3, 0.3), "gate", "mns", "pass overlay.toml with --config"),
    ],
)
def test_the_next_step_follows_from_the_result_and_the_configuration(
    chosen: Side, take_over: TakeOver, variant: str | None, said: str
) -> None:
    found = Comparison(side(0.1, 0.1), chosen)
    assert said in next_step(found, take_over, dt.date(2026, 1, 31), variant)


def test_adopted_settings_that_a_search_did_not_vary_are_repeated_in_its_own() -> None:
    day: Any = SimpleNamespace()
    base, found = Base(day, load_config(), pool_is_empty=False), Comparison(side(0.1, 0.1), side(0.2, 0.2))
    adopted = Overlay(dt.date(2026, 1, 24), "[training]\ntemperature = 0.3\n[model]\nuser_id_dropout = 0.6\n")
    chosen = {"training.temperature": 0.123}
    text = overlay_of(base, chosen, found, dt.date(2026, 1, 31), None, adopted)
    training = {"temperature": 0.123, "epochs": 2}
    assert tomllib.loads(text) == {"training": training, "model": {"user_id_dropout": 0.6}}
    of_variant = overlay_of(base, chosen, found, dt.date(2026, 1, 31), "mns", adopted)
    assert tomllib.loads(of_variant) == {"variants": {"mns": {"training": training}}}


def test_a_trial_is_over_after_epochs_without_gain() -> None:
    found = Measured([0.1, 0.3, 0.2], [0.0] * 3)
    assert not found.is_over(2)
    found.searched.append(0.25)
    assert found.is_over(2)
    assert not found.is_over(0)


def test_both_halves_of_the_users_must_have_clicks() -> None:
    found = Measured()
    found.add({"searched": {"rows": 3.0, "ndcg": 0.2}, "judged": {"rows": 4.0, "ndcg": 0.1}}, "ndcg")
    assert (found.searched, found.judged, found.judged_clicks) == ([0.2], [0.1], 4)
    with pytest.raises(TrialFailed, match="got 3 and 0 clicks"):
        found.add({"searched": {"rows": 3.0, "ndcg": 0.2}, "judged": {"rows": 0.0}}, "ndcg")
