"""Run all jobs of a day, in order, in one Spark session; print the rows and the seconds of each.

With --from and --to it runs a stretch of the day: these jobs and all between them. Each job has the same preconditions
as when it runs alone. --tables-only is the stretch that stops before training. With --skip-done, an attempt that
follows an interrupted one skips the jobs that had ended, if nothing has changed since (jobs/cli/progress.py).

Rebuilds the days that late clicks change (rebuild_days). It evaluates the candidates of the day before on this day's
clicks; with --against the new candidates on the clicks of later days that have landed. With --last it runs several days
and stops at the first that fails; days before the published one require --tables-only. A day of a range that has no
log, no click, one user or one item is named and left out.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from jobs import (
    build_interactions,
    build_item_index,
    build_item_neighbours,
    build_negative_pools,
    build_popular_items,
    build_reconciliation,
    build_sampling_probs,
    build_snapshots,
    build_user_embeddings,
    build_vocabularies,
    choose_settings,
    evaluate_candidates,
    gate_candidates,
    publish_candidates,
    rebuild_days,
    report_run,
    score_users,
    train_two_tower,
)
from jobs.cli.arguments import day_argument, job_parser, shared_arguments
from jobs.cli.day_range import requested_days, run_each
from jobs.cli.display import Display, job_name, job_step
from jobs.cli.lake import open_lake
from jobs.cli.progress import recorded
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.integrity.shared import shared_snapshots
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import LEAVE_EARLIER, DayStopped, require_impressions, require_startable
from jobs.serving.publication_checks import require_none_later
from model.registry import did_you_mean

# The order of a day is defined here only; dags/batch_recall_daily.py repeats it, and a test compares the two.
TABLE_JOBS = (
    build_interactions,
    rebuild_days,
    build_reconciliation,
    build_vocabularies,
    build_snapshots,
    *rebuild_days.OUTCOME_JOBS,
)
WINDOW_JOBS = (choose_settings, build_negative_pools, build_sampling_probs, build_item_neighbours, build_popular_items)
MODEL_JOBS = (train_two_tower, build_user_embeddings, build_item_index, score_users)
DECISION_JOBS = (gate_candidates, publish_candidates)  # they may stop the day, which is reported nevertheless
DAY: tuple[ModuleType, ...] = (
    *TABLE_JOBS,
    *WINDOW_JOBS,
    *MODEL_JOBS,
    evaluate_candidates,
    *DECISION_JOBS,
    report_run,
)

NAMES = tuple(job_name(job) for job in DAY)
OLDER_DAY = "run it with --tables-only; to publish it: --to gate_candidates, then publish-candidates --republish"


def job_argument(text: str) -> str:
    """The name of a job of the day, as an argparse type."""
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(NAMES)}, got {text!r}{did_you_mean(text, NAMES)}")
    return text


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--last", type=day_argument, metavar="DAY", help="run all days from --ds to this one")
    job: dict[str, Any] = {"type": job_argument, "metavar": "JOB"}
    parser.add_argument("--from", dest="first_job", default=NAMES[0], help="first job (default: %(default)s)", **job)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--to", dest="last_job", default=NAMES[-1], help="last job (default: %(default)s)", **job)
    end.add_argument(
        "--tables-only",
        dest="last_job",
        action="store_const",
        const=job_name(TABLE_JOBS[-1]),
        default=NAMES[-1],
        help="build the day's tables and stop before training (--to %(const)s)",
    )
    parser.add_argument(
        LEAVE_EARLIER, action="store_true", help="start a lake at --ds although days before it have landed"
    )
    parser.add_argument("--skip-done", action="store_true", help="skip the jobs that an interrupted attempt had ended")
    parser.add_argument(
        "--against",
        type=day_argument,
        nargs="+",
        metavar="DAY",
        help="first and last day of the clicks to evaluate on (default: --ds, for the candidates of the day before)",
    )
    return parser


def requested_jobs(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[ModuleType, ...]:
    """The jobs from --from to --to, in order; exits with an error if the arguments contradict each other."""
    first, last = NAMES.index(args.first_job), NAMES.index(args.last_job)
    if first > last:
        wanted = f"one of {', '.join(NAMES[: last + 1])}"
        parser.error(f"--from must not be after the last job, {args.last_job}: {wanted}, got {args.first_job}")
    jobs = DAY[first : last + 1]
    if args.against and evaluate_candidates not in jobs:
        stretch = f"{args.first_job} to {args.last_job}"
        parser.error(f"--against must be given with a stretch that has evaluate_candidates, got {stretch}")
    return jobs


@shared_snapshots()
def run_day(
    lake: Lake,
    config: Config,
    ds: dt.date,
    shared: Sequence[str],
    display: Display,
    *,
    jobs: Sequence[ModuleType] = DAY,
    against: Sequence[dt.date] = (),
    leaves_earlier: bool = False,
    job_ended: Callable[[str], None] = lambda _: None,
) -> None:
    """Run `jobs`, a stretch of DAY, for `ds`; calls `job_ended` with the name of each job that ended without an error.

    shared: the arguments of every job, without the day. leaves_earlier: as in `require_previous_days_run`. Raises
    ValueError, before any job runs, if the blocklist does not exist, or if tables are to be built and an earlier day
    was not run or was run with other features.
    """
    step, lake = job_step(shared, display), lake.for_job()
    builds_tables = not set(jobs).isdisjoint(TABLE_JOBS)
    require_startable(lake, config, ds, builds_tables=builds_tables, leaves_earlier=leaves_earlier)
    for job in [job for job in jobs if job not in (*DECISION_JOBS, report_run)]:
        display.at(job, jobs)
        if job is rebuild_days:
            rebuild_days.rebuild_days(lake, config, ds, step, leaves_earlier=leaves_earlier)
        elif job is evaluate_candidates:
            evaluate(step, ds, against)
        else:
            step(job, ds)
        job_ended(job_name(job))
    try:
        for job in [job for job in DECISION_JOBS if job in jobs]:
            display.at(job, jobs)
            step(job, ds)
            job_ended(job_name(job))
    finally:  # also for a day that is not published
        if report_run in jobs:
            display.at(report_run, jobs)
            step(report_run, ds)


def run_stretch(
    lake: Lake, config: Config, ds: dt.date, args: argparse.Namespace, display: Display, jobs: Sequence[ModuleType]
) -> None:
    """Call `run_day` with the arguments of the command line; with --skip-done, without the jobs that had ended."""
    shared = shared_arguments(args)
    run_jobs = partial(run_day, against=args.against or (), leaves_earlier=args.leave_earlier_days)
    if not args.skip_done:
        run_jobs(lake, config, ds, shared, display, jobs=jobs)
        return
    with recorded(lake, config, args, [job_name(job) for job in jobs]) as progress:
        for name in progress.done:
            display.skipped(name, ds)
        rest = jobs[len(progress.done) :]
        run_jobs(lake, config, ds, shared, display, jobs=rest, job_ended=progress.job_ended)


def run_days(
    lake: Lake,
    config: Config,
    days: Sequence[dt.date],
    args: argparse.Namespace,
    display: Display,
    jobs: Sequence[ModuleType],
) -> None:
    """Call `run_stretch` for each day; of several days, one whose log is too small is shown and left.

    Clicks that landed on a day without impressions may change earlier days, which are rebuilt.
    """

    def left(day: dt.date, stop: DayStopped) -> None:
        display.left(day, f"[{stop.code}] {stop}")
        if stop.code == "empty_day" and rebuild_days in jobs and lake.has_day(tables.CLICKS, day):
            step, leaves_earlier = job_step(shared_arguments(args), display), args.leave_earlier_days
            rebuild_days.rebuild_days(lake.for_job(), config, day, step, leaves_earlier=leaves_earlier)

    def run_one(day: dt.date) -> None:
        if len(days) > 1 and build_interactions in jobs:  # which would be shown as failed
            require_impressions(lake.for_job(), day)
        run_stretch(lake, config, day, args, display, jobs)

    run_each(days, run_one, left)


def evaluate(step: rebuild_days.Step, ds: dt.date, against: Sequence[dt.date]) -> None:
    """Evaluate the new candidates on the days of `against`; without any, yesterday's candidates on today."""
    if not against:
        step(evaluate_candidates, ds - dt.timedelta(days=1), "--if-any")
        return
    for day in days_between(against[0], against[-1]):
        step(build_interactions, day, build_interactions.ANY_ORDER)
    step(evaluate_candidates, ds, "--against", *(day.isoformat() for day in against))


def main(argv: Sequence[str] | None = None) -> None:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days, jobs = requested_days(parser, args), requested_jobs(parser, args)
    lake, config = open_lake(args, "run_day")  # each job applies those of its day
    if publish_candidates in jobs:  # which would refuse the day after all the other work
        require_none_later(lake.rows(tables.PUBLICATIONS), args.ds, OLDER_DAY)
    display = Display(f"batch-recall  {args.ds}{f' to {args.last}' if len(days) > 1 else ''}  {args.lake}")
    if len(days) > 1:
        _ = lake.spark  # started here, with settings for all of these days
    run_days(lake, config, days, args, display, jobs)
    display.summary()


if __name__ == "__main__":
    run(main)
