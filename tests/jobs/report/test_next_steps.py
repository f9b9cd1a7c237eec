"""Beside "not published" a person reads what is wrong, what to do, and where more is said."""

from __future__ import annotations

import datetime as dt
import importlib
import math
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.cli.main import job_named
from jobs.report.next_steps import NEXT, NOT_PUBLISHED, NOT_RUN, PUBLISH, RUN_DAY, SCORE_AGAIN, steps_of
from jobs.report.page import Step
from jobs.serving.verdicts import ADVICE, sentence, sentence_of
from tests.test_docs import problems

ROOT = Path(__file__).resolve().parents[3]
DAY = dt.date(2026, 1, 31)


def row(rule: str, value: float | None = 0.1, *, passed: bool = False, **fields: Any) -> SimpleNamespace:
    """A row of the table gate."""
    bounds = {"min_value": 0.25, "max_value": None, "clicks": None, "interval_low": None, "interval_high": None}
    return SimpleNamespace(rule=rule, value=value, passed=passed, **(bounds | fields))


def test_every_rule_has_a_step() -> None:
    assert set(NEXT) == set(ADVICE)


@pytest.mark.parametrize("rule", [*NEXT, "not run", "not published", "later"])
def test_the_command_of_a_step_is_one_and_its_page_exists(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the configuration, because the advice is mostly to change a key of it."""
    (tmp_path / "FILE").write_text("")
    monkeypatch.chdir(tmp_path)
    verdicts = {"not run": [], "not published": [row("coverage", passed=True)]}.get(rule, [row(rule, 1.0)])
    (step,) = steps_of(verdicts, DAY, DAY + dt.timedelta(days=1) if rule == "later" else None)
    program, job, *arguments = shlex.split(step.command)
    assert program == "batch-recall"
    parser = importlib.import_module(f"jobs.{job_named(job)}").arg_parser()
    assert arguments[2:4] == ["--config", "FILE"]
    assert parser.parse_args(arguments).ds == DAY
    assert problems(f"[more](../{step.page})", ROOT / "docs/page.md") == []


def test_the_failed_rules_are_named_with_value_limit_and_advice() -> None:
    verdicts = [row("coverage", 0.125), row("head_share", 0.5, passed=True), row("recall_of_published", None)]
    coverage, recall = steps_of(verdicts, DAY)
    assert coverage == Step(
        "coverage must be at least 0.25, got 0.125.",
        "Look for users with equal lists; gate.min_coverage may be lower for few users and many items.",
        "batch-recall run-day --lake LAKE --config FILE --ds 2026-01-31 --from gate_candidates",
        "docs/publication.md#the-gate",
    )
    assert recall.problem == "recall_of_published must be measured, got no value."
    assert sentence("head_share", 0.99, None, 0.98, passed=False) == "head_share must be at most 0.98, got 0.99"


def test_a_recall_says_on_how_many_clicks() -> None:
    noisy = row("recall_over_popularity", clicks=1234, interval_low=0.05, interval_high=0.15)
    (step,) = steps_of([noisy], DAY)
    assert step.problem.endswith("got 0.1 (95 % interval 0.05 to 0.15, 1,234 clicks).")


def test_a_value_above_its_bound_that_fails_says_that_few_clicks_decided() -> None:
    """With gate.few_clicks = "fail"; the sentence would contradict itself otherwise."""
    few = {"value": 0.3, "clicks": 9, "interval_low": 0.1, "interval_high": 0.6}
    (step,) = steps_of([row("recall_of_published", **few)], DAY)
    said = "recall_of_published must be at least 0.25, got 0.3 (95 % interval 0.1 to 0.6, 9 clicks): too few clicks "
    assert step.problem == said + "to decide, and gate.few_clicks is fail."
    below = row("recall_of_published", **few | {"value": 0.2})
    assert sentence_of(below).endswith("9 clicks)")  # the value says it
    assert sentence_of(row("recall_of_published", **few, passed=True)).endswith("9 clicks)")


@pytest.mark.parametrize("rule", ["index_recall", "short_list_share"])
def test_another_index_is_searched_for_all_users(rule: str) -> None:
    """What a list depends on is stored with the user's vector, so scoring alone would keep lists that are published."""
    assert steps_of([row(rule)], DAY)[0].command == SCORE_AGAIN.format(ds=DAY)


@pytest.mark.parametrize(
    ("verdicts", "is_passed"), [([row("coverage")], False), ([], False), ([row("coverage", passed=True)], True)]
)
def test_before_a_day_that_is_published_nothing_needs_to_be_done(verdicts: list[Any], is_passed: bool) -> None:
    """A plain publication of the day would be refused."""
    (step,) = steps_of(verdicts, DAY, dt.date(2026, 2, 2))
    assert step.problem == "A later day, 2026-02-02, is published; nothing needs to be done."
    assert step.advice.startswith("To publish this day anyway")
    assert ("passes each rule of the gate" in step.advice) != is_passed
    assert step.command == PUBLISH.format(ds=DAY) + " --republish"
    assert step.tone == "muted"


def test_the_missing_days_are_named() -> None:
    (step,) = steps_of([row("input_age_days", 3.0, min_value=None, max_value=1.0)], DAY)
    assert step.command == "batch-recall run-day --lake LAKE --config FILE --ds 2026-01-29 --last 2026-01-31"


@pytest.mark.parametrize(
    ("rule", "value"),
    [("training_rows_lost", 1e12), ("input_age_days", 1e12), ("input_age_days", float("nan")), ("coverage", math.inf)],
)
def test_a_value_that_is_no_age_makes_no_date(rule: str, value: float) -> None:
    (step,) = steps_of([row(rule, value, min_value=None, max_value=0.0)], DAY)
    assert step.problem == f"{rule} must be at most 0, got {value:.4g}."
    assert str(DAY) in step.command


def test_a_rule_without_an_entry_has_a_step_all_the_same() -> None:
    """Such as one of a later version, or of a fork."""
    (step,) = steps_of([row("rule_of_a_fork")], DAY)
    assert step == Step(
        "rule_of_a_fork must be at least 0.25, got 0.1.", "", RUN_DAY.format(ds=DAY), "docs/publication.md#the-gate"
    )


def test_a_day_without_a_failed_rule_has_a_step_too() -> None:
    assert steps_of([], DAY)[0].problem == NOT_RUN.problem
    assert steps_of([row("coverage", passed=True)], DAY)[0].problem == NOT_PUBLISHED.problem
