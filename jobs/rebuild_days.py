"""The earlier days whose outcomes change by clicks that landed on this day: what follows from them is built again.

Runs after build_interactions of the day, since a click may seem to come before its impression, and before everything
else of it. Stops where a day before it, on which it would build, has landed and was not run. Finds the same days when
it is run again, so a run that was cut short is made good by the next.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs import (
    build_histories,
    build_interactions,
    build_item_counts,
    build_reconciliation,
    build_training_examples,
    build_window_counts,
)
from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.preconditions import require_previous_days_run

# What follows from the outcomes of a day, and is built again where they change.
OUTCOME_TABLES = (build_training_examples, build_histories, build_item_counts, build_window_counts)

Step = Callable[[object, dt.date], None]


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """All days from `first` to `last`, both included."""
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def rebuild_days(lake: Lake, config: Config, ds: dt.date, step: Step) -> None:
    """Run `step(job, day)` for every job that an earlier day needs again, in the order of days.

    Raises DayStopped where a day before `ds` has landed and was not run.
    """
    require_previous_days_run(lake, ds, config.log.state_lookback_days)
    touched = build_interactions.touched_days(lake, config, ds)
    for day in touched:
        step(build_interactions, day)
    yesterday, skew = (
        ds - dt.timedelta(days=1),
        dt.timedelta(days=AttributionWindow.from_config(config).clock_skew_days),
    )
    first = min([*touched, ds])
    for day in days_between(min(first, ds - skew), yesterday):
        known = tables.INTERACTIONS if day >= first else tables.RECONCILIATION
        if not lake.day(known, day).isEmpty():  # days that never ran stay as they are
            step(build_reconciliation, day)
    for day in days_between(first, yesterday):
        for job in OUTCOME_TABLES if not lake.day(tables.INTERACTIONS, day).isEmpty() else ():
            step(job, day)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "rebuild_days")
    common = ["--lake", args.lake, *(["--config", args.config] if args.config else [])]
    done: list[int] = []

    def step(job: object, day: dt.date) -> None:
        done.append(job.main([*common, "--ds", day.isoformat()]))  # type: ignore[attr-defined]
        print(f"{day}  {Path(job.__file__).stem}  {done[-1]:,} rows", flush=True)  # type: ignore[attr-defined]

    rebuild_days(lake, config, args.ds, step)
    return sum(done)


if __name__ == "__main__":
    run(main)
