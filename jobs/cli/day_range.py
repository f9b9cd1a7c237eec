"""A range of days, run in order: a day whose log is too small is left, any other failure ends the range."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence

from jobs.lake.days import days_between
from jobs.raw_log.preconditions import DayStopped

SPARSE = ("empty_day", "no_clicks", "one_user", "one_item")  # codes of a day whose log is too small, not wrong


def days_of_range(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[dt.date]:
    """The days from --ds to --last, which is --ds if it is not given; exits with an error if --last is before --ds."""
    days = days_between(args.ds, args.last or args.ds)
    if not days:
        parser.error(f"--last must not be before --ds {args.ds}, got {args.last}")
    return days


def requested_days(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[dt.date]:
    """The days that run_day runs; exits with an error if the arguments contradict each other."""
    days = days_of_range(parser, args)
    if len(days) > 1 and args.skip_done:
        parser.error("--skip-done must not be combined with --last: it records the progress of one day")
    if len(days) > 1 and args.against:
        parser.error("--against must not be combined with --last: it evaluates the candidates of one day")
    return days


def run_each(
    days: Sequence[dt.date], run_one: Callable[[dt.date], None], left: Callable[[dt.date, DayStopped], None]
) -> None:
    """Call `run_one` for each day; of several days, `left` for one that stops because its log is too small.

    Raises any other failure, and the last DayStopped if no day was run to its end.
    """
    stops = []
    for day in days:
        try:
            run_one(day)
        except DayStopped as stop:
            if len(days) == 1 or stop.code not in SPARSE:
                raise
            stops.append(stop)
            left(day, stop)
    if stops and len(stops) == len(days):
        raise stops[-1]
