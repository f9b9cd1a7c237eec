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
    # one step a day, with its reason
    if take_over != "gate" or trial is not None or newer_by_hand(rows, before) or given_for(ds, rows, before):
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
    """The identities of settings of which a person's last word is that they are taken back."""
    last = {row.overlay.identity: row.state for row in rows if row.ds is None and row.overlay is not None}
    return {key for key, state in last.items() if state == TAKEN_BACK}


def was_seen(rows: Sequence[Adoption], overlay: Overlay) -> bool:
    """Whether there was a decision about these settings: nothing is put on trial twice."""
    return any(row.overlay is not None and row.overlay.identity == overlay.identity for row in rows)


def is_released(rows: Sequence[Adoption], of_day: Adoption) -> bool:
    """Whether a person took back the settings of a day after they were decided for it."""
    return of_day.overlay is not None and any(
        row.state == TAKEN_BACK and row.overlay is not None and row.overlay.identity == of_day.overlay.identity
        for row in newer_by_hand(rows, of_day)
    )


def given_for(ds: dt.date, rows: Sequence[Adoption], before: Adoption | None) -> Adoption | None:
    """The settings that a person gave last, if they hold for `ds` and no earlier day was decided with them.

    They hold for days after the day of their search, whose clicks they have seen, until they are taken back.
    """
    refused = taken_back(rows)
    given = [row for row in rows if row.state == GIVEN and row.overlay is not None]
    held = [row for row in given if _can_hold(row.overlay, ds, refused)]
    last = held[-1] if held else None
    if last is None or last.overlay is None or before is None or before.ds is None:
        return last
    is_new = last.number > before.number or last.overlay.tuned_on >= before.ds  # or the day before could not have them
    return last if is_new else None


def _can_hold(overlay: Overlay | None, ds: dt.date, refused: set[str]) -> bool:
    return overlay is None or (overlay.tuned_on < ds and overlay.identity not in refused)


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
    given = given_for(ds, rows, before)
    if given is not None:
        return Choice(ADOPTED, given.overlay, given.reason)
    chosen = next(step for step in reversed(steps) if _can_hold(step.overlay, ds, refused))
    if trial is not None and trial.passed is False:
        return Choice(chosen.state, chosen.overlay, trial.reason)
    if before is not None and before.overlay is not None and before.overlay.identity in refused:
        return Choice(chosen.state, chosen.overlay, f"those tuned on {before.overlay.tuned_on} were taken back by hand")
    later = [row.overlay.tuned_on for row in newer_by_hand(rows, before) if row.overlay and row.state == GIVEN]
    if later and later[-1] >= ds:
        why = f"those given by hand hold for days after {later[-1]}, up to which they were tuned"
        return Choice(chosen.state, chosen.overlay, f"{chosen.reason}; {why}")
    return chosen
