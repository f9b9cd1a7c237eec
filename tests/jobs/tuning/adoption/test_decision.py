"""Which settings a day uses: each way from one day to the next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from jobs.config.tuning import TakeOver
from jobs.tuning.adoption.decision import Choice, Outcome, Proposal, choose, is_released
from jobs.tuning.adoption.records import ADOPTED, CONFIGURED, GIVEN, TAKEN_BACK, TRIAL, Adoption, Overlay, decided

FIRST = dt.date(2026, 2, 1)
SECOND, THIRD, FOURTH = (FIRST + dt.timedelta(days=number) for number in (1, 2, 3))
A, B = (
    Overlay(FIRST - dt.timedelta(days=days), f"[training]\ntemperature = {value}\n")
    for days, value in ((9, 0.1), (2, 0.2))
)
PASSED, FAILED, OPEN = Outcome(True, "passed"), Outcome(False, "failed"), Outcome(None, "goes on")
Said = tuple[str, dt.date | None, Overlay | None]


def rows(*said: Said) -> list[Adoption]:
    return [Adoption(number, state, ds, overlay, "") for number, (state, ds, overlay) in enumerate(said, 1)]


def chosen(
    ds: dt.date,
    known: Sequence[Adoption],
    take_over: TakeOver = "by_hand",
    outcome: Outcome | None = None,
    proposed: Overlay | None = None,
) -> Choice:
    """What is chosen; the trial of the day before has this outcome, and the newest search proposes this."""

    def judge(day: dt.date) -> Outcome:
        assert outcome is not None, f"the outcome of {day} must not matter"
        return outcome

    return choose(ds, known, take_over, judge, lambda _: Proposal(proposed, "better" if proposed else "noise"))


def settings(choice: Choice) -> tuple[str, Overlay | None]:
    return choice.state, choice.overlay


def test_without_a_decision_the_configuration_has_the_settings() -> None:
    assert settings(chosen(FIRST, [])) == (CONFIGURED, None)


def test_what_a_person_gives_holds_from_the_next_day_and_then_stays() -> None:
    known = rows((CONFIGURED, FIRST, None), (GIVEN, None, A))
    assert settings(chosen(SECOND, known)) == (ADOPTED, A)
    known = rows((CONFIGURED, FIRST, None), (GIVEN, None, A), (ADOPTED, SECOND, A))
    assert settings(chosen(THIRD, known)) == (ADOPTED, A)
    assert chosen(THIRD, known).reason == f"as on {SECOND}"


def test_the_last_word_of_a_person_counts() -> None:
    known = rows((GIVEN, None, A), (GIVEN, None, B))
    assert settings(chosen(FIRST, known)) == (ADOPTED, B)
    known = rows((GIVEN, None, A), (TAKEN_BACK, None, A))
    assert settings(chosen(FIRST, known)) == (CONFIGURED, None)
    known = rows((GIVEN, None, A), (GIVEN, None, B), (TAKEN_BACK, None, B))
    assert settings(chosen(FIRST, known)) == (ADOPTED, A)
    known = rows((GIVEN, None, A), (TAKEN_BACK, None, A), (GIVEN, None, A))
    assert settings(chosen(FIRST, known)) == (ADOPTED, A)


def test_settings_that_are_taken_back_make_room_for_those_before_them() -> None:
    known = rows((GIVEN, None, A), (ADOPTED, FIRST, A), (GIVEN, None, B), (ADOPTED, SECOND, B), (TAKEN_BACK, None, B))
    assert settings(chosen(THIRD, known)) == (ADOPTED, A)
    assert f"those tuned on {B.tuned_on} were taken back" in chosen(THIRD, known).reason
    # neither comes back when the other is taken back too
    known = [*known, Adoption(6, ADOPTED, THIRD, A, ""), Adoption(7, TAKEN_BACK, None, A, "")]
    assert settings(chosen(FOURTH, known)) == (CONFIGURED, None)


def test_a_search_that_is_better_is_tried_only_with_the_gate() -> None:
    assert settings(chosen(FIRST, [], "by_hand", proposed=A)) == (CONFIGURED, None)
    assert chosen(FIRST, [], "gate", proposed=A) == Choice(TRIAL, A, "better")
    assert settings(chosen(FIRST, [], "gate")) == (CONFIGURED, None)
    assert chosen(FIRST, [], "gate").reason.endswith("; noise")


def test_a_trial_that_passed_is_adopted() -> None:
    trial = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A))
    assert chosen(THIRD, trial, "gate", PASSED) == Choice(ADOPTED, A, "passed")
    assert chosen(THIRD, trial, "by_hand", PASSED) == Choice(ADOPTED, A, "passed")  # the key was changed meanwhile


@pytest.mark.parametrize("earlier", [(CONFIGURED, None), (ADOPTED, A)])
def test_after_a_trial_that_failed_the_earlier_settings_come_back_with_the_reason(
    earlier: tuple[str, Overlay | None],
) -> None:
    trial = rows((earlier[0], FIRST, earlier[1]), (TRIAL, SECOND, B))
    assert chosen(THIRD, trial, "gate", FAILED, proposed=B) == Choice(*earlier, "failed")
    after = rows((earlier[0], FIRST, earlier[1]), (TRIAL, SECOND, B), (earlier[0], THIRD, earlier[1]))
    assert settings(chosen(FOURTH, after, "gate", proposed=B)) == earlier  # it is not tried a second time


def test_a_trial_whose_day_does_not_tell_goes_on() -> None:
    trial = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A))
    assert chosen(THIRD, trial, "gate", OPEN, proposed=B) == Choice(TRIAL, A, "goes on")
    longer = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A), (TRIAL, THIRD, A))
    assert chosen(FOURTH, longer, "gate", FAILED) == Choice(CONFIGURED, None, "failed")


def test_a_person_overrules_a_trial() -> None:
    trial = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A), (GIVEN, None, A))
    assert settings(chosen(THIRD, trial, "gate", FAILED)) == (ADOPTED, A)
    trial = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A), (TAKEN_BACK, None, A))
    assert settings(chosen(THIRD, trial, "gate", PASSED, proposed=B)) == (CONFIGURED, None)
    assert settings(chosen(THIRD, trial, "gate", OPEN)) == (CONFIGURED, None)


def test_never_means_the_configured_settings_and_they_stay_after_it() -> None:
    known = rows((GIVEN, None, A), (ADOPTED, FIRST, A))
    assert settings(chosen(SECOND, known, "never", proposed=B)) == (CONFIGURED, None)
    after = rows((GIVEN, None, A), (ADOPTED, FIRST, A), (CONFIGURED, SECOND, None))
    assert settings(chosen(THIRD, after)) == (CONFIGURED, None)


def test_an_earlier_day_does_not_see_decisions_about_later_ones() -> None:
    known = rows((CONFIGURED, FIRST, None), (TRIAL, THIRD, A))
    assert settings(chosen(SECOND, known, "by_hand")) == (CONFIGURED, None)


def test_a_day_is_released_if_its_settings_are_taken_back_after_it_was_decided() -> None:
    before = rows((GIVEN, None, A), (TAKEN_BACK, None, A), (GIVEN, None, A), (ADOPTED, FIRST, A))
    assert not is_released(before, decided(before)[FIRST])
    after = [*before, Adoption(5, TAKEN_BACK, None, A, "")]
    assert is_released(after, decided(after)[FIRST])
    again = [*after, Adoption(6, *chosen_fields(chosen(FIRST, after)))]
    assert settings(chosen(FIRST, after)) == (CONFIGURED, None)
    assert decided(again)[FIRST].overlay is None


def chosen_fields(choice: Choice) -> tuple[str, dt.date, Overlay | None, str]:
    return choice.state, FIRST, choice.overlay, choice.reason


def test_settings_given_by_hand_hold_only_for_days_after_that_of_their_search() -> None:
    given = rows((GIVEN, None, B))
    for ds in (B.tuned_on - dt.timedelta(days=1), B.tuned_on):
        assert settings(chosen(ds, given)) == (CONFIGURED, None)
        assert chosen(ds, given).reason.endswith(f"hold for days after {B.tuned_on}, up to which they were tuned")
    assert settings(chosen(B.tuned_on + dt.timedelta(days=1), given)) == (ADOPTED, B)
    # a day that was back-filled since does not hide them from the days that they are for
    filled = [*given, Adoption(2, CONFIGURED, B.tuned_on, None, "")]
    assert settings(chosen(FIRST, filled)) == (ADOPTED, B)
    assert settings(chosen(FIRST, [*filled, Adoption(3, GIVEN, None, A, "")])) == (ADOPTED, A)  # the last word
    assert settings(chosen(FIRST, [*filled, Adoption(3, TAKEN_BACK, None, B, "")])) == (CONFIGURED, None)


def test_settings_that_differ_in_a_comment_are_the_same() -> None:
    again = Overlay(A.tuned_on, f"# ndcg .31, 5 seeds\n\n{A.text}")
    assert again.hash != A.hash
    tried = rows((CONFIGURED, FIRST, None), (TRIAL, SECOND, A), (CONFIGURED, THIRD, None))
    assert settings(chosen(FOURTH, tried, "gate", proposed=again)) == (CONFIGURED, None)
    later = Overlay(A.tuned_on + dt.timedelta(days=1), A.text)
    assert settings(chosen(FOURTH, tried, "gate", proposed=later)) == (TRIAL, later)  # of another search
    assert settings(chosen(FIRST, rows((GIVEN, None, A), (TAKEN_BACK, None, again)))) == (CONFIGURED, None)
