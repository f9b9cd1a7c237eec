"""Rebuild the earlier days whose outcomes change because of clicks that landed on this day.

Runs after the day's build_interactions and before its other jobs: with clock skew, a click may land on the day before
its impression, so reconciling that day needs this day's interactions. Stops if an earlier day on which this one
depends has landed but was not run. Finds the same days when it is run again, so an interrupted run can be repeated.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from jobs import (
    build_histories,
    build_interactions,
    build_item_counts,
    build_item_pairs,
    build_reconciliation,
    build_training_examples,
    build_window_counts,
)
from jobs.cli.arguments import job_parser, shared_arguments
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.preconditions import require_previous_days_run
from model.training.processes.lines import say

# Jobs that read the outcomes of a day; they run again when outcomes change.
OUTCOME_JOBS = (build_training_examples, build_histories, build_item_pairs, build_item_counts, build_window_counts)


class Step(Protocol):
    """Runs the main() of a job for a day. more: arguments in addition to the shared ones."""

    def __call__(self, job: ModuleType, day: dt.date, *more: str) -> None: ...


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def rebuild_days(lake: Lake, config: Config, ds: dt.date, step: Step, *, leaves_earlier: bool = False) -> None:
    """Call `step(job, day)` for every job that must run again for an earlier day.

    Raises DayStopped if a day before `ds` has landed but was not run; leaves_earlier: see `require_previous_days_run`.
    """
    require_previous_days_run(lake, ds, config.log.state_lookback_days, leaves_earlier=leaves_earlier)
    changed = build_interactions.days_changed_by_late_clicks(lake, config, ds)
    for day in changed:
        step(build_interactions, day, build_interactions.ANY_ORDER)
    first, yesterday = min([*changed, ds]), ds - dt.timedelta(days=1)
    skew_start = AttributionWindow.from_config(config).first_click_day(ds)
    for day in days_between(min(first, skew_start), yesterday):
        # days that were never run are left out
        if lake.has_day(tables.INTERACTIONS if day >= first else tables.RECONCILIATION, day):
            step(build_reconciliation, day)
    for day in days_between(first, yesterday):
        for job in OUTCOME_JOBS if lake.has_day(tables.INTERACTIONS, day) else ():
            step(job, day)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "rebuild_days")
    rows: list[int] = []

    def step(job: ModuleType, day: dt.date, *more: str) -> None:
        rows.append(job.main([*shared_arguments(args), "--ds", day.isoformat(), *more]))
        name = Path(str(job.__file__)).stem
        say(f"{day}  {name}  {rows[-1]:,} rows", job=name, ds=day, rows=rows[-1])

    rebuild_days(lake, config, args.ds, step)
    return sum(rows)


if __name__ == "__main__":
    run(main)
