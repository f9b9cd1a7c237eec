"""What each rule of the gate compares, and what its verdict says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.config.loading import Config
from jobs.serving.gate_rules import (
    ADVICE,
    LIST_RULES,
    TRAINING_RULES,
    VECTOR_RULES,
    ListMeasurements,
    Verdict,
    never_clicked_share,
    short_list_share,
)

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
    assert passed or str(verdict).endswith('(draw negatives from the whole catalogue: training.preset = "mns")')


def test_every_rule_says_what_to_do_and_is_explained() -> None:
    assert set(ADVICE) == RULES
    page = (Path(__file__).parents[3] / "docs" / "publication.md").read_text("utf-8")
    assert [rule for rule in RULES if f"| `{rule}` |" not in page] == []


def test_lists_of_users_for_whom_nothing_is_possible_pass_without_an_item(config: Config) -> None:
    nothing = dict.fromkeys(("coverage", "never_clicked_share", "head_share"))
    empty = lists_of(**nothing, is_any_possible=False)
    assert all(rule(empty, config).passed for rule in LIST_RULES)
    assert not any(rule(lists_of(**nothing), config).passed for rule in LIST_RULES if rule is not short_list_share)
