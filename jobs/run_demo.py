"""From an empty folder to published candidates on MovieLens-100K, and the effect of the log-Q correction.

Ingests ten logical days, builds the tables of nine of them, trains a model, scores all users, evaluates their lists on
the tenth day and publishes them. Trains a variant without the correction as well, and prints both side by side.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from typing import Any

from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

from jobs import evaluate_candidates, ingest_movielens
from jobs.cli.arguments import Parser, add_config, shared_arguments
from jobs.cli.display import Display, job_step
from jobs.cli.run import run
from jobs.config.loading import Config, load_config
from jobs.inference.evaluation import CANDIDATES, POPULARITY
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.raw_log.movielens import LOGICAL_DAYS
from jobs.report.files import report_path
from jobs.run_day import MODEL_JOBS, TABLE_JOBS, run_day
from jobs.serving import read_candidates
from jobs.serving.item_texts import ItemText, item_texts
from model.training.processes.lines import is_json, say

FIRST_DAY = dt.date(2026, 1, 1)
DAYS = days_between(FIRST_DAY, FIRST_DAY + dt.timedelta(days=LOGICAL_DAYS - 1))
SCORED_DAY, HELD_OUT_DAY = DAYS[-2:]
VARIANT = "uncorrected"
FEATURES = "movielens"  # the configuration that --config overrides


def arg_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    parser.add_argument("--lake", default="lake", help="folder of all tables: a path or any Hadoop URI (default: lake)")
    add_config(parser)
    parser.set_defaults(config=[FEATURES])
    return parser


def run_demo(lake: Lake, config: Config, shared: Sequence[str], display: Display) -> None:
    """Run all days, and the variant on the tables that all models share. shared: the arguments of every job."""
    step = job_step(shared, display)
    step(ingest_movielens, FIRST_DAY)
    for day in DAYS[:-2]:
        run_day(lake, config, day, shared, display, jobs=TABLE_JOBS)
    run_day(lake, config, SCORED_DAY, shared, display, against=[HELD_OUT_DAY])
    for job in MODEL_JOBS:
        step(job, SCORED_DAY, "--variant", VARIANT)
    step(evaluate_candidates, SCORED_DAY, "--variant", VARIANT, "--against", HELD_OUT_DAY.isoformat())


def metrics(lake: Lake, ds: dt.date, channel: str) -> dict[str, float]:
    """The metrics of a channel over all users, by `name@k`."""
    rows = lake.day(tables.EVALUATION, ds).where((F.col("channel") == channel) & (F.col("slice") == "all"))
    return {f"{row.metric}@{row.k}": row.value for row in rows.collect()}  # a few dozen rows


def show_comparison(lake: Lake, ds: dt.date, console: Console) -> None:
    """Print popularity, the uncorrected variant and the corrected model side by side."""
    variant = lake.of_variant(VARIANT)
    table = Table("", "Recall@20", "NDCG@20", "Recall@100", "items shown", "never clicked")
    table.title = "Effect of the correction, on the held-out last day"
    table.columns[0].no_wrap = True
    names = ("recall@20", "ndcg@20", "recall@100", "item_coverage@100", "never_clicked_share@100")
    for label, found in (
        ("popularity", metrics(lake, ds, POPULARITY)),
        ("two towers", metrics(variant, ds, CANDIDATES)),
        ("with log-Q", metrics(lake, ds, CANDIDATES)),
    ):
        table.add_row(label, *(f"{found[name]:.3f}" for name in names))
        if is_json():
            fields: dict[str, Any] = {name: found[name] for name in names}
            say(label, **fields)
    if not is_json():
        console.print(table)


def show_published(lake: Lake, config: Config) -> None:
    """Print where the candidates are stored, and one user's list as ranking would read it, with titles."""
    lists = read_candidates(lake.uri)
    user = lists["user_id"].iloc[0]
    best = lists[lists["user_id"] == user].head(5)
    texts = item_texts(lake, config, SCORED_DAY, list(best["item_id"]))
    listed = [
        f"{row.item_id} {texts.get(row.item_id, ItemText()).title} ({row.score:.2g})" for row in best.itertuples()
    ]
    say(f"published: {lists['user_id'].nunique():,} users, {len(lists):,} candidates in {lake.uri}/candidates")
    say(f"  user {user}: {', '.join(listed)}, ...")
    call = f'read_candidates("{lake.uri}", ["{user}"])'
    say(f"  read them:  from batch_recall import read_candidates; {call}")


def main(argv: Sequence[str] | None = None) -> None:
    args = arg_parser().parse_args(argv)
    config = load_config(*args.config)
    display = Display(f"batch-recall demo: MovieLens-100K in {args.lake}")
    say("starting Spark")
    lake = Lake(spark_session("run_demo", args.master, small_days=True), args.lake)
    run_demo(lake, config, shared_arguments(args), display)
    display.summary()
    show_comparison(lake, SCORED_DAY, display.console)
    show_published(lake, config)
    say(f"report of {SCORED_DAY}: {report_path(args.lake, SCORED_DAY)}")


if __name__ == "__main__":
    run(main)
