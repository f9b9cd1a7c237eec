"""Run all jobs of a day, in order, in one Spark session; print the rows and the seconds of each.

Rebuilds the tables of earlier days that late clicks change (rebuild_days). With --tables-only it stops before training.
It evaluates the candidates of the day before on this day's clicks; with --against it evaluates the new candidates on
the clicks of later days that have already landed (a back-test). With --last it runs several days in order and stops at
the first that fails; days before the published one require --tables-only.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Protocol

from jobs import (
    build_interactions,
    build_item_index,
    build_negative_pools,
    build_popular_items,
    build_reconciliation,
    build_sampling_probs,
    build_snapshots,
    build_user_embeddings,
    build_vocabularies,
    evaluate_candidates,
    gate_candidates,
    publish_candidates,
    report_run,
    score_users,
    train_two_tower,
)
from jobs.cli.arguments import day_argument, job_parser, shared_arguments
from jobs.cli.display import Display
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import require_impressions
from jobs.rebuild_days import OUTCOME_JOBS, rebuild_days

STATE_JOBS = (build_reconciliation, build_vocabularies, build_snapshots)
WINDOW_JOBS = (build_negative_pools, build_sampling_probs, build_popular_items)
MODEL_JOBS = (train_two_tower, build_user_embeddings, build_item_index, score_users)


class Step(Protocol):
    """Runs the main() of a job for a day. more: arguments in addition to the shared ones."""

    def __call__(self, job: object, day: dt.date, *more: str) -> None: ...


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--last", type=day_argument, metavar="DAY", help="run all days from --ds to this one")
    parser.add_argument("--tables-only", action="store_true", help="build the day's tables and stop before training")
    parser.add_argument(
        "--against",
        type=day_argument,
        nargs="+",
        metavar="DAY",
        help="first and last day of the clicks to evaluate on (default: --ds, for the candidates of the day before)",
    )
    return parser


def requested_days(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[dt.date]:
    """The days from --ds to --last; exits with an error if the arguments contradict each other."""
    days = days_between(args.ds, args.last or args.ds)
    if not days:
        parser.error(f"--last must not be before --ds {args.ds}, got {args.last}")
    if len(days) > 1 and args.against:
        parser.error("--against must not be combined with --last: it evaluates the candidates of one day")
    return days


def run_day(
    lake: Lake,
    config: Config,
    ds: dt.date,
    shared: Sequence[str],
    display: Display,
    *,
    tables_only: bool = False,
    against: Sequence[dt.date] = (),
) -> None:
    """Run the jobs of `ds`; `shared` are the arguments of every job, without the day."""
    step = job_step(shared, display)
    build_tables(lake, config, ds, step)
    if tables_only:
        return
    for job in (*WINDOW_JOBS, *MODEL_JOBS):
        step(job, ds)
    evaluate(step, ds, against)
    try:
        step(gate_candidates, ds)
        step(publish_candidates, ds)
    finally:  # also for a day that is not published
        step(report_run, ds)


def build_tables(lake: Lake, config: Config, ds: dt.date, step: Step) -> None:
    """Build the day's tables, and rebuild those of earlier days that its clicks change."""
    require_impressions(lake, ds)
    step(build_interactions, ds)
    rebuild_days(lake, config, ds, step)
    for job in (*STATE_JOBS, *OUTCOME_JOBS):
        step(job, ds)


def evaluate(step: Step, ds: dt.date, against: Sequence[dt.date]) -> None:
    """Evaluate the new candidates on the days of `against`; without any, yesterday's candidates on today."""
    if not against:
        step(evaluate_candidates, ds - dt.timedelta(days=1), "--if-any")
        return
    for day in days_between(against[0], against[-1]):
        step(build_interactions, day)
    step(evaluate_candidates, ds, "--against", *(day.isoformat() for day in against))


def job_step(shared: Sequence[str], display: Display) -> Step:
    """A step that runs a job with the shared arguments and shows it on the display."""

    def step(job: object, day: dt.date, *more: str) -> None:
        main: Callable[[Sequence[str]], int] = job.main  # type: ignore[attr-defined]
        arguments = [*shared, "--ds", day.isoformat(), *more]
        display.step(job.__name__.split(".")[-1], day, lambda: main(arguments))  # type: ignore[attr-defined]

    return step


def main(argv: Sequence[str] | None = None) -> None:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days = requested_days(parser, args)
    lake, config = open_lake(args, "run_day")
    display = Display(f"batch-recall  {args.ds}{f' to {args.last}' if len(days) > 1 else ''}  {args.lake}")
    options = {"tables_only": args.tables_only, "against": args.against or ()}
    for day in days:
        run_day(lake, config, day, shared_arguments(args), display, **options)
    display.summary()


if __name__ == "__main__":
    run(main)
