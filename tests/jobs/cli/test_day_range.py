"""A range of days leaves those whose log is too small, and ends at any other failure."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.cli.day_range import run_each
from jobs.raw_log.preconditions import DayStopped

DAYS = [dt.date(2026, 1, number) for number in range(1, 5)]


def run(codes: list[str], days: list[dt.date] = DAYS) -> tuple[list[int], list[tuple[int, str]]]:
    """Which days were begun, and which were left with what code. codes: with which each day stops, or empty."""
    begun: list[int] = []
    left: list[tuple[int, str]] = []

    def run_one(day: dt.date) -> None:
        begun.append(day.day)
        if code := codes[day.day - 1]:
            raise DayStopped(code, "reason")

    run_each(days, run_one, lambda day, stop: left.append((day.day, stop.code)))
    return begun, left


def test_a_day_whose_log_is_too_small_is_left_and_the_next_one_runs() -> None:
    assert run(["", "empty_day", "no_clicks", ""]) == ([1, 2, 3, 4], [(2, "empty_day"), (3, "no_clicks")])
    assert run(["one_user", "one_item", "", "no_clicks"])[0] == [1, 2, 3, 4]


@pytest.mark.parametrize("code", ["gate", "day_not_run", "not_reconciled"])
def test_any_other_reason_ends_the_range(code: str) -> None:
    with pytest.raises(DayStopped) as stop:
        run(["", code, "", ""])
    assert stop.value.code == code


def test_a_range_or_a_day_of_which_nothing_could_be_run_stops_with_its_code() -> None:
    with pytest.raises(DayStopped) as stop:
        run(["no_clicks", "empty_day", "empty_day", "one_user"])
    assert stop.value.code == "one_user"
    with pytest.raises(DayStopped) as stop:
        run(["empty_day"], DAYS[:1])
    assert stop.value.code == "empty_day"
