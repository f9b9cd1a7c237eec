"""Which settings a day uses: a rule of the decisions before it, of the trial that they may have left, and of a search.

The rule reads nothing itself, and gives the same answer for the same arguments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.config.tuning import TakeOver
from jobs.tuning.adoption.records import (
    ADOPTED,
    CONFIGURED,
    GIVEN,
    TAKEN_BACK,
    TRIAL,
    Adoption,
    Overlay,
    decided,
)


@dataclass(frozen=True)
class Choice:
    """The settings of a day. overlay: None for the configured ones."""

    state: str
    overlay: Overlay | None
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of the day of a trial. passed: None if it does not tell yet."""

    passed: bool | None
    reason: str


@dataclass(frozen=True)
class Proposal:
    """What a search proposes. overlay: None if there is nothing to try, for a `reason`; "" if there is no search."""

    overlay: Overlay | None
    reason: str


Judge = Callable[[dt.date], Outcome]  # what became of the trial of a day
Search = Callable[[Overlay | None], Proposal]  # the newest search's proposal, if these settings are in force


def choose(ds: dt.date, rows: Sequence[Adoption], take_over: TakeOver, judge: Judge, propose: Search) -> Choice:
    """The settings of `ds`. rows: all decisions. judge, propose: called only where their answer is needed."""
    if take_over == "never":
        return Choice(CONFIGURED, None, 'tuning.take_over is "never"')
    before = last_before(ds, rows)
    trial = judge(before.ds) if before is not None and before.ds is not None and before.state == TRIAL else None
    base = _in_force(ds, rows, before, trial)
    if take_over != "gate" or trial is not None or newer_by_hand(rows, before):  # one step a day, with its reason
        return base
    proposal = propose(base.overlay)
    if proposal.overlay is None:
        return Choice(base.state, base.overlay, "; ".join(filter(None, (base.reason, proposal.reason))))
    if was_seen(rows, proposal.overlay):
        return base
    return Choice(TRIAL, proposal.overlay, proposal.reason)


def last_before(ds: dt.date, rows: Sequence[Adoption]) -> Adoption | None:
    """The decision of the last day before `ds` that has one."""
    return next((row for day, row in reversed(decided(rows).items()) if day < ds), None)


def newer_by_hand(rows: Sequence[Adoption], before: Adoption | None) -> list[Adoption]:
    """What persons decided after the decision `before`."""
    return [row for row in rows if row.ds is None and (before is None or row.number > before.number)]


def taken_back(rows: Sequence[Adoption]) -> set[str]:
    """The hashes of settings of which a person's last word is that they are taken back."""
    last = {row.overlay.hash: row.state for row in rows if row.ds is None and row.overlay is not None}
    return {key for key, state in last.items() if state == TAKEN_BACK}


def was_seen(rows: Sequence[Adoption], overlay: Overlay) -> bool:
    """Whether there was a decision about these settings: nothing is put on trial twice."""
    return any(row.overlay is not None and row.overlay.hash == overlay.hash for row in rows)


def is_released(rows: Sequence[Adoption], of_day: Adoption) -> bool:
    """Whether a person took back the settings of a day after they were decided for it."""
    return of_day.overlay is not None and any(
        row.state == TAKEN_BACK and row.overlay is not None and row.overlay.hash == of_day.overlay.hash
        for row in newer_by_hand(rows, of_day)
    )


def _in_force(ds: dt.date, rows: Sequence[Adoption], before: Adoption | None, trial: Outcome | None) -> Choice:
    """The newest settings that were adopted or given and not taken back, or those of a trial that has not ended."""
    refused, steps = taken_back(rows), [Choice(CONFIGURED, None, "the configuration has them")]
    steps += [
        Choice(row.state, row.overlay, f"as on {day}")
        for day, row in decided(rows).items()
        if day < ds and row.state != TRIAL
    ]
    if before is not None and trial is not None and trial.passed is not False:
        steps.append(Choice(ADOPTED if trial.passed else TRIAL, before.overlay, trial.reason))
    given = [row for row in newer_by_hand(rows, before) if row.state == GIVEN]
    steps += [Choice(ADOPTED, row.overlay, row.reason) for row in given]
    chosen = next(step for step in reversed(steps) if step.overlay is None or step.overlay.hash not in refused)
    if trial is not None and trial.passed is False and not given:
        return Choice(chosen.state, chosen.overlay, trial.reason)
    if before is not None and before.overlay is not None and before.overlay.hash in refused and not given:
        return Choice(chosen.state, chosen.overlay, f"those tuned on {before.overlay.tuned_on} were taken back by hand")
    return chosen
