"""One day, start to end, in one Spark session: every job in its order, with what each did and how long it took.

The tables of earlier days that late clicks touch are built again first. With --tables-only it stops before training;
with --against the new candidates are evaluated on the clicks of later days that have landed already (a back-test),
without it the candidates of the day before are, on this day's clicks.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence

from jobs import (
    build_histories,
    build_interactions,
    build_item_counts,
    build_item_index,
    build_negative_pools,
    build_popular_items,
    build_reconciliation,
    build_sampling_probs,
    build_snapshots,
    build_training_examples,
    build_user_embeddings,
    build_vocabularies,
    build_window_counts,
    evaluate_candidates,
    publish_candidates,
    report_run,
    score_users,
    train_two_tower,
)
from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.attribution import Reach
from jobs.common.config import Config
from jobs.common.display import Display
from jobs.common.ground import require_impressions
from jobs.common.partitions import Lake, day_argument

Job = Callable[[Sequence[str] | None], int]

# What follows from the outcomes of a day, and is built again where they change.
OUTCOME_TABLES = (build_training_examples, build_histories, build_item_counts, build_window_counts)
WINDOW_TABLES = (build_negative_pools, build_sampling_probs, build_popular_items)
MODEL = (train_two_tower, build_user_embeddings, build_item_index, score_users)


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
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
    evaluate(lake, step, ds, against)
    for job in (publish_candidates, report_run):
        step(job, ds)


def build_tables(lake: Lake, config: Config, ds: dt.date, step: Callable[..., None]) -> None:
    """The day's tables; before them those of earlier days that clicks of this one change, in the order of days."""
    require_impressions(lake, ds)
    touched = build_interactions.touched_days(lake, config, ds)
    for day in [*touched, ds]:
        step(build_interactions, day)
    first, skew = min([*touched, ds]), dt.timedelta(days=Reach.of(config).clock_skew_days)
    for day in days_between(min(first, ds - skew), ds):
        if day >= first or not lake.day(tables.RECONCILIATION, day).isEmpty():
            step(build_reconciliation, day)
    step(build_vocabularies, ds)
    step(build_snapshots, ds)
    for day in days_between(first, ds):
        for job in OUTCOME_TABLES:
            step(job, day)


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """All days from `first` to `last`, both included."""
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def evaluate(lake: Lake, step: Callable[..., None], ds: dt.date, against: Sequence[dt.date]) -> None:
    """The new candidates on the days in `against`, or yesterday's on today."""
    if against:
        first, last = against[0], against[-1]
        for day in days_between(first, last):
            step(build_interactions, day)
        step(evaluate_candidates, ds, "--against", *(day.isoformat() for day in against))
        return
    yesterday = ds - dt.timedelta(days=1)
    if not lake.day(tables.CANDIDATES, yesterday).isEmpty():
        step(evaluate_candidates, yesterday)


def main(argv: Sequence[str] | None = None) -> None:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "run_day")
    common = ["--lake", args.lake, *(["--config", args.config] if args.config else [])]
    display = Display(f"batch-recall  {args.ds}  {args.lake}")
    run_day(lake, config, args.ds, common, display, tables_only=args.tables_only, against=args.against or ())
    display.summary()


if __name__ == "__main__":
    run(main)
