"""What a person does if a day is not published: for each failed rule of the gate, or if the gate was not run."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jobs.report.page import Step
from jobs.serving.verdicts import ADVICE, sentence_of

GATE = "docs/publication.md#the-gate"
IN_LAKE = "--lake LAKE --config FILE --ds"  # FILE: the configuration, in which the advice may name a key
RUN_DAY = f"batch-recall run-day {IN_LAKE} {{ds}}"
SCORE_AGAIN = f"{RUN_DAY} --from build_user_embeddings"
PUBLISH = f"batch-recall publish-candidates {IN_LAKE} {{ds}}"


class Next(NamedTuple):
    """What to run, with the day as {ds}, and where the documentation says more."""

    command: str
    page: str = GATE


NEXT = {  # by rule: what runs again after ADVICE was followed
    "recall_over_popularity": Next(f"batch-recall tune-two-tower {IN_LAKE} {{ds}}", "docs/recall.md"),
    "recall_after_last_pass": Next(f"{RUN_DAY} --from train_two_tower", "docs/publication.md#the-last-pass"),
    "recall_of_published": Next(RUN_DAY),
    "training_rows_lost": Next(f"{RUN_DAY} --from train_two_tower"),
    "input_age_days": Next(
        f"batch-recall run-day {IN_LAKE} {{missing}} --last {{ds}}",
        "docs/operations.md#running-days-again-and-ranges-of-days",
    ),
    "model_age_days": Next(f"{RUN_DAY} --from train_two_tower"),
    "coverage": Next(f"{RUN_DAY} --from gate_candidates"),
    "never_clicked_share": Next(
        f"{RUN_DAY} --from build_negative_pools", "docs/negative-sampling.md#items-without-a-click"
    ),
    "head_share": Next(f"{RUN_DAY} --from train_two_tower", "docs/negative-sampling.md#the-formula"),
    "short_list_share": Next(SCORE_AGAIN, "docs/publication.md#users-with-few-possible-items"),
    "user_mean_cosine": Next(f"{RUN_DAY} --from train_two_tower", "docs/operations.md#training"),
    "item_mean_cosine": Next(f"{RUN_DAY} --from train_two_tower", "docs/operations.md#training"),
    "index_recall": Next(SCORE_AGAIN),
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
    PUBLISH,
    "docs/publication.md#publication",
)
LATER = Step(
    "A later day, {later}, is published; nothing needs to be done.",
    "To publish this day anyway{first}:",
    f"{PUBLISH} --republish",
    "docs/publication.md#publication",
    "muted",
)
FIRST = ", run it again until it passes each rule of the gate, and then"


def steps_of(verdicts: Sequence[Any], ds: dt.date, later: dt.date | None = None) -> list[Step]:
    """The steps for a day that is not published. verdicts: its rows of the table gate; later: a published later day."""
    if later is not None:
        first = "" if verdicts and all(row.passed for row in verdicts) else FIRST
        texts = {"problem": LATER.problem.format(later=later), "advice": LATER.advice.format(first=first)}
        return [replace(LATER, **texts, command=LATER.command.format(ds=ds))]
    failed = sorted((row for row in verdicts if not row.passed), key=lambda row: str(row.rule))
    if failed:
        return [_of_rule(row, ds) for row in failed]
    step = NOT_PUBLISHED if verdicts else NOT_RUN
    return [replace(step, command=step.command.format(ds=ds))]


def _of_rule(row: Any, ds: dt.date) -> Step:
    to_do = NEXT.get(row.rule, OF_OTHER_RULES)
    advice = ADVICE.get(row.rule, "")
    command = to_do.command.format(ds=ds, missing=_first_missing(row, ds))
    return Step(f"{sentence_of(row)}.", f"{advice[0].upper()}{advice[1:]}." if advice else "", command, to_do.page)


def _first_missing(row: Any, ds: dt.date) -> dt.date:
    """The first day without training examples, by their age; `ds` for other rules, whose value is no age."""
    if row.rule != "input_age_days" or row.value is None or not 1 <= row.value < ds.toordinal():
        return ds
    return ds - dt.timedelta(days=math.floor(row.value) - 1)
