"""One day, start to end, in one Spark session: every job in its order, with what each did and how long it took.

The tables of earlier days that late clicks touch are built again (rebuild_days). With --tables-only it stops before
training; with --against the new candidates are evaluated on the clicks of later days that have landed already (a
back-test), without it the candidates of the day before are, on this day's clicks. With --last it runs one day after the
other, and ends with the first that fails: days that lie before the published one want --tables-only.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence

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
from jobs.cli.arguments import day_argument, job_parser
from jobs.cli.display import Display
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import require_impressions
from jobs.rebuild_days import OUTCOME_TABLES, rebuild_days

Job = Callable[[Sequence[str] | None], int]

WINDOW_TABLES = (build_negative_pools, build_sampling_probs, build_popular_items)
MODEL = (train_two_tower, build_user_embeddings, build_item_index, score_users)


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--last", type=day_argument, metavar="DAY", help="run all days from --ds to this one")
    parser.add_argument("--tables-only", action="store_true", help="build the day's tables and stop before training")
    parser.add_argument(
        "--against", type=day_argument, nargs="+", metavar="DAY", help="first and last day to evaluate on"
    )
    return parser


def run_day(
    lake: Lake,
    config: Config,
    ds: dt.date,
    common: Sequence[str],
    display: Display,
    *,
    tables_only: bool = False,
    against: Sequence[dt.date] = (),
) -> None:
    """Run the jobs of `ds`; `common` are the arguments that they share, without the day."""

    def step(module: object, day: dt.date, *more: str) -> None:
        main: Job = module.main  # type: ignore[attr-defined]
        display.step(module.__name__.split(".")[-1], day, lambda: main([*common, "--ds", day.isoformat(), *more]))  # type: ignore[attr-defined]

    build_tables(lake, config, ds, step)
    if tables_only:
        return
    for job in (*WINDOW_TABLES, *MODEL):
        step(job, ds)
    evaluate(step, ds, against)
    try:
        step(gate_candidates, ds)
        step(publish_candidates, ds)
    finally:  # what was held back is worth a page too
        step(report_run, ds)


def build_tables(lake: Lake, config: Config, ds: dt.date, step: Callable[..., None]) -> None:
    """The day's tables, and those of earlier days that its clicks change."""
    require_impressions(lake, ds)
    step(build_interactions, ds)
    rebuild_days(lake, config, ds, step)
    for job in (build_reconciliation, build_vocabularies, build_snapshots, *OUTCOME_TABLES):
        step(job, ds)


def evaluate(step: Callable[..., None], ds: dt.date, against: Sequence[dt.date]) -> None:
    """The new candidates on the days in `against`, or yesterday's on today."""
    if against:
        first, last = against[0], against[-1]
        for day in days_between(first, last):
            step(build_interactions, day)
        step(evaluate_candidates, ds, "--against", *(day.isoformat() for day in against))
        return
    step(evaluate_candidates, ds - dt.timedelta(days=1), "--if-any")


def asked_days(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[dt.date]:
    """The day of --ds, or all from it to --last; ends the program where they make no sense."""
    days = days_between(args.ds, args.last or args.ds)
    if not days:
        parser.error(f"--last must not be before --ds {args.ds}, got {args.last}")
    if len(days) > 1 and args.against:
        parser.error("--against judges the candidates of one day, and --last asks for several")
    return days


def main(argv: Sequence[str] | None = None) -> None:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days = asked_days(parser, args)
    lake, config = open_lake(args, "run_day")
    common = ["--lake", args.lake, *(["--config", args.config] if args.config else [])]
    display = Display(f"batch-recall  {args.ds}{f' to {args.last}' if len(days) > 1 else ''}  {args.lake}")
    for day in days:
        run_day(lake, config, day, common, display, tables_only=args.tables_only, against=args.against or ())
    display.summary()


if __name__ == "__main__":
    run(main)
