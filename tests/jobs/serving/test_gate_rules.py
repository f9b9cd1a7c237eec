"""What each rule of the gate compares, and what its verdict says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.config.loading import Config
from jobs.serving.gate_rules import (
    LIST_RULES,
    TRAINING_RULES,
    VECTOR_RULES,
    LastPass,
    ListMeasurements,
    TrainingMeasurements,
    last_pass_verdict,
    never_clicked_share,
    recall_of_published,
    recall_over_popularity,
    short_list_share,
)
from jobs.serving.verdicts import ADVICE, Noise, Verdict, wilson

RULES = {rule.__name__ for rule in (*TRAINING_RULES, *LIST_RULES, *VECTOR_RULES)}


@pytest.mark.parametrize(
    ("verdict", "passed", "text"),
    [
        (Verdict("a", 0.5, min_value=0.5), True, "a must be at least 0.5, got 0.5"),
        (Verdict("a", 0.4, min_value=0.5), False, "a must be at least 0.5, got 0.4, misses it by 0.1"),
        (Verdict("a", 3.0, max_value=1.0), False, "a must be at most 1, got 3, misses it by 2"),
        (Verdict("a", 0.0, max_value=0.0), True, "a must be at most 0, got 0"),
        (Verdict("a", None, min_value=0.5), False, "a: not measured, but required"),
        (Verdict("a", None, min_value=0.5, required=False), True, "a: not measured"),
    ],
)
def test_a_verdict_says_by_how_much(verdict: Verdict, passed: bool, text: str) -> None:
    assert (verdict.passed, str(verdict)) == (passed, text)


def lists_of(**measured: Any) -> ListMeasurements:
    whole = {"coverage": 0.5, "never_clicked_share": 0.1, "head_share": 0.5, "never_clicked_share_of_items": 0.3}
    return ListMeasurements(**{**whole, "short_list_share": 0.0, "is_any_possible": True, **measured})


@pytest.mark.parametrize(
    ("of_items", "in_lists", "passed"),
    [
        (0.1, 0.3, True),  # as the first bound allows
        (0.324, 0.325, False),  # MovieLens with ids only, in-batch negatives only: as in lists drawn at random
        (0.324, 0.019, True),  # MovieLens with features
        (0.69, 0.341, True),  # a day of EB-NeRD: 92 of 322 articles have a click, and lists have 100 of them
        (0.69, 0.5, False),
        (0.95, 0.6, False),
        (0.95, 0.97, False),  # a large catalogue: such items float to the top
        (0.95, 0.02, True),
    ],
)
def test_never_clicked_items_are_compared_with_those_of_the_catalogue(
    config: Config, of_items: float, in_lists: float, passed: bool
) -> None:
    measured = lists_of(never_clicked_share_of_items=of_items, never_clicked_share=in_lists)
    verdict = never_clicked_share(measured, config)
    assert verdict.passed == passed
    action = 'train on them as negatives: negatives.never_clicked = 64, or training.preset = "mns"'
    assert passed or str(verdict).endswith(f"({action})")


def test_every_rule_says_what_to_do_and_is_explained() -> None:
    assert set(ADVICE) == RULES
    page = (Path(__file__).parents[3] / "docs" / "publication.md").read_text("utf-8")
    assert [rule for rule in RULES if f"| `{rule}` |" not in page] == []


def test_lists_of_users_for_whom_nothing_is_possible_pass_without_an_item(config: Config) -> None:
    nothing = dict.fromkeys(("coverage", "never_clicked_share", "head_share"))
    empty = lists_of(**nothing, is_any_possible=False)
    assert all(rule(empty, config).passed for rule in LIST_RULES)
    assert not any(rule(lists_of(**nothing), config).passed for rule in LIST_RULES if rule is not short_list_share)


def with_gate(config: Config, **changes: Any) -> Config:
    return config.model_copy(update={"gate": config.gate.model_copy(update=changes)})


def trained(**measured: Any) -> TrainingMeasurements:
    whole = {"clicks": 5_000, "recall_at_shorter": 0.2, "recall_at_longer": 0.5, "popularity_recall_at_shorter": 0.1}
    rest = {"published_recall_at_longer": 0.5, "last_pass": None, "must_hold_out": True}
    ages = {"lost_rows": 0, "input_age_days": 0, "model_age_days": 0}
    return TrainingMeasurements(**{**whole, **rest, **ages, **measured})


def test_the_interval_of_a_share_has_the_true_one_19_times_of_20() -> None:
    random = np.random.default_rng(0)
    for count, share in ((150, 0.02), (150, 0.3), (2_000, 0.1)):
        found = random.binomial(count, share, size=2_000) / count
        inside = [low <= share <= high for low, high in (wilson(float(one), count) for one in found)]
        assert 0.92 < np.mean(inside) < 0.98, (count, share)
    assert wilson(1 / 153, 153) == pytest.approx((0.00115, 0.0361), abs=1e-4)  # by hand


def test_one_hit_of_153_clicks_is_below_the_floor_though_popularity_found_nothing(config: Config) -> None:
    measured = trained(clicks=153, recall_at_shorter=1 / 153, popularity_recall_at_shorter=0.0)
    verdict = recall_over_popularity(measured, config)
    assert str(verdict) == (
        "recall_over_popularity must be at least 0.01, got 0.006536 (95 % interval 0.001155 to 0.03609, 153 clicks): "
        "too few clicks to decide, and gate.few_clicks is pass"
    )
    assert (verdict.passed, verdict.is_undecided) == (True, True)
    assert not recall_over_popularity(measured, with_gate(config, few_clicks="fail")).passed
    assert not recall_over_popularity(measured, with_gate(config, min_validation_clicks=100)).passed
    many = trained(clicks=15_300, recall_at_shorter=1 / 153, popularity_recall_at_shorter=0.0)
    assert not recall_over_popularity(many, config).passed


@pytest.mark.parametrize(
    ("recall", "clicks", "few_clicks", "passed"),
    [
        (0.02, 300, "pass", False),  # the whole interval is below the bound of .11
        (0.2, 300, "fail", True),  # the whole interval is above it
        (0.1, 300, "pass", True),
        (0.12, 300, "fail", False),
        (0.1, 5_000, "pass", False),  # enough clicks: the value decides
        (0.12, 5_000, "fail", True),
        (0.1, None, "pass", False),  # a model that does not say how many clicks: the value decides
    ],
)
def test_few_clicks_decide_only_what_their_interval_shows(
    config: Config, recall: float, clicks: int | None, few_clicks: str, passed: bool
) -> None:
    measured = trained(recall_at_shorter=recall, clicks=clicks)
    assert recall_over_popularity(measured, with_gate(config, few_clicks=few_clicks)).passed == passed


def test_the_recall_of_the_published_model_is_compared_within_the_noise_of_few_clicks(config: Config) -> None:
    found = {
        (clicks, recall): recall_of_published(trained(clicks=clicks, recall_at_longer=recall), config).passed
        for clicks in (100, 5_000)
        for recall in (0.38, 0.2)  # the bound is .4
    }
    assert found == {(100, 0.38): True, (100, 0.2): False, (5_000, 0.38): False, (5_000, 0.2): False}


@pytest.mark.parametrize(
    ("after", "standard_error", "clicks", "few_clicks", "passed"),
    [
        (0.31, 0.01, 500, "pass", True),
        (0.27, 0.02, 500, "pass", True),  # a drop that is noise
        (0.27, 0.02, 5_000, "fail", True),  # also with many clicks: the single differences say so
        (0.27, 0.02, 500, "fail", False),
        (0.2, 0.02, 500, "pass", False),  # a drop that the clicks show
        (0.27, 0.005, 5_000, "pass", False),
        (0.295, 0.0001, 5_000, "pass", True),  # a drop that is sure, but small
        (0.0, math.inf, 500, "pass", True),  # one user
        (0.0, math.inf, 500, "fail", False),
    ],
)
def test_a_last_pass_fails_if_the_clicks_show_a_drop(
    config: Config, after: float, standard_error: float, clicks: int, few_clicks: str, passed: bool
) -> None:
    verdict = last_pass_verdict(LastPass(0.3, after, standard_error, clicks), with_gate(config, few_clicks=few_clicks))
    assert verdict.passed == passed
    assert verdict.min_value == pytest.approx(0.98 * 0.3)


def test_a_last_pass_that_was_not_measured_passes_unless_the_policy_requires_it(config: Config) -> None:
    nobody = LastPass(None, None, math.inf, 0)
    assert last_pass_verdict(None, config).passed
    assert last_pass_verdict(nobody, config).passed
    assert not last_pass_verdict(nobody, with_gate(config, few_clicks="fail")).passed


def test_a_value_above_its_bound_that_fails_by_policy_misses_nothing() -> None:
    verdict = Verdict("a", 0.5, min_value=0.4, noise=Noise(9, 0.2, 0.8, if_undecided=False, is_small=True))
    assert str(verdict) == (
        "a must be at least 0.4, got 0.5 (95 % interval 0.2 to 0.8, 9 clicks): too few clicks to decide, and "
        "gate.few_clicks is fail"
    )
