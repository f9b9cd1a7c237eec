"""What a person does if a day is not published: for each failed rule of the gate, or if the gate was not run."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jobs.report.page import Step
from jobs.serving.verdicts import ADVICE

GATE = "docs/publication.md#the-gate"
RUN_DAY = "batch-recall run-day --lake LAKE --ds {ds}"


class Next(NamedTuple):
    """What to run, with the day as {ds}, and where the documentation says more."""

    command: str
    page: str = GATE


NEXT = {  # by rule: what runs again after ADVICE was followed
    "recall_over_popularity": Next("batch-recall tune-two-tower --lake LAKE --ds {ds}", "docs/recall.md"),
    "recall_after_last_pass": Next(f"{RUN_DAY} --from train_two_tower", "docs/publication.md#the-last-pass"),
    "recall_of_published": Next(RUN_DAY),
    "training_rows_lost": Next(f"{RUN_DAY} --from train_two_tower"),
    "input_age_days": Next(
        "batch-recall run-day --lake LAKE --ds {missing} --last {ds}",
        "docs/operations.md#running-days-again-and-ranges-of-days",
    ),
    "model_age_days": Next(f"{RUN_DAY} --from train_two_tower"),
    "coverage": Next(f"{RUN_DAY} --from gate_candidates"),
    "never_clicked_share": Next(
        f"{RUN_DAY} --from build_negative_pools", "docs/negative-sampling.md#items-without-a-click"
    ),
    "head_share": Next(f"{RUN_DAY} --from train_two_tower", "docs/negative-sampling.md#the-formula"),
    "short_list_share": Next(f"{RUN_DAY} --from build_item_index", "docs/publication.md#users-with-few-possible-items"),
    "user_mean_cosine": Next(f"{RUN_DAY} --from train_two_tower", "docs/operations.md#training"),
    "item_mean_cosine": Next(f"{RUN_DAY} --from train_two_tower", "docs/operations.md#training"),
    "index_recall": Next(f"{RUN_DAY} --from build_item_index"),
}
OF_OTHER_RULES = Next(RUN_DAY)  # of a rule that this version does not know, or has no entry for
NOT_RUN = Step(
    "The gate was not run for this day.",
    "Run the day to its end; the job that stopped it says why.",
    RUN_DAY,
    "docs/operations.md#exit-codes",
)
NOT_PUBLISHED = Step(
    "Every rule of the gate passed, but no publication of this day was made.",
    "Publish its lists.",
    "batch-recall publish-candidates --lake LAKE --ds {ds}",
    "docs/publication.md#publication",
)


def steps_of(verdicts: Sequence[Any], ds: dt.date) -> list[Step]:
    """The steps for a day that is not published. verdicts: its rows of the table gate."""
    failed = sorted((row for row in verdicts if not row.passed), key=lambda row: str(row.rule))
    if failed:
        return [_of_rule(row, ds) for row in failed]
    step = NOT_PUBLISHED if verdicts else NOT_RUN
    return [Step(step.problem, step.advice, step.command.format(ds=ds), step.page)]


def finding(rule: str, value: float | None, min_value: float | None, max_value: float | None) -> str:
    """A rule of the gate with its limit and its value."""
    if value is None:
        return f"{rule} must be measured, got no value"
    limit = f"at least {min_value:.4g}" if min_value is not None else f"at most {max_value:.4g}"
    return f"{rule} must be {limit}, got {value:.4g}"


def _of_rule(row: Any, ds: dt.date) -> Step:
    to_do = NEXT.get(row.rule, OF_OTHER_RULES)
    problem = finding(row.rule, row.value, row.min_value, row.max_value) + _noise(row)
    advice = ADVICE.get(row.rule, "")
    command = to_do.command.format(ds=ds, missing=_first_missing(row, ds))
    return Step(f"{problem}.", f"{advice[0].upper()}{advice[1:]}." if advice else "", command, to_do.page)


def _first_missing(row: Any, ds: dt.date) -> dt.date:
    """The first day without training examples, by their age; `ds` for other rules, whose value is no age."""
    if row.rule != "input_age_days" or row.value is None or not 1 <= row.value < ds.toordinal():
        return ds
    return ds - dt.timedelta(days=math.floor(row.value) - 1)


def _noise(row: Any) -> str:
    if row.clicks is None or row.interval_low is None:
        return ""
    return f" (95 % interval {row.interval_low:.4g} to {row.interval_high:.4g}, {row.clicks:,} clicks)"
