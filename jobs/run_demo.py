"""From nothing to published candidates on MovieLens-100K, and what the log-Q correction is worth.

Ten logical days land; the tables of nine are built one after the other; a model is trained on them, all users are
scored, the lists are evaluated on the tenth day and published. A variant without correction is trained beside it.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

from jobs import evaluate_candidates, ingest_movielens
from jobs.cli.arguments import add_config
from jobs.cli.display import Display
from jobs.cli.run import run
from jobs.config.loading import load_config
from jobs.inference.evaluation import CANDIDATES, POPULARITY
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.report.files import report_path
from jobs.run_day import MODEL, run_day
from jobs.serving import read_candidates

FIRST_DAY = dt.date(2026, 1, 1)
VARIANT = "uncorrected"


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", default="lake", help="folder of all tables: a path or any Hadoop URI (default: lake)")
    add_config(parser)
    return parser


def run_variant(display: Display, ds: dt.date, against: dt.date, common: Sequence[str]) -> None:
    """Train, score and evaluate the variant on the tables that the main model used."""
    arguments = [*common, "--ds", ds.isoformat(), "--variant", VARIANT]
    for job in MODEL:
        name = job.__name__.split(".")[-1]
        display.step(name, ds, lambda main=job.main: main(arguments))  # type: ignore[misc]
    display.step(
        "evaluate_candidates", ds, lambda: evaluate_candidates.main([*arguments, "--against", against.isoformat()])
    )


def metrics(lake: Lake, ds: dt.date, channel: str) -> dict[str, float]:
    """The overall metrics of a channel by `name@k`."""
    rows = lake.day(tables.EVALUATION, ds).where((F.col("channel") == channel) & (F.col("slice") == "all"))
    return {f"{row.metric}@{row.k}": row.value for row in rows.collect()}  # a few dozen rows


def compare(lake: Lake, ds: dt.date, console: Console) -> None:
    """Print popularity, the uncorrected variant and the corrected model side by side."""
    beside = Lake(lake.spark, lake.uri, VARIANT)
    table = Table("", "Recall@20", "NDCG@20", "Recall@100", "items shown", "never clicked")
    table.title = "What the correction is worth, on the held-out last day"
    table.columns[0].no_wrap = True
    names = ("recall@20", "ndcg@20", "recall@100", "item_coverage@100", "never_clicked_share@100")
    for label, found in (
        ("popularity", metrics(lake, ds, POPULARITY)),
        ("two towers", metrics(beside, ds, CANDIDATES)),
        ("with log-Q", metrics(lake, ds, CANDIDATES)),
    ):
        table.add_row(label, *(f"{found[name]:.3f}" for name in names))
    console.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    args = arg_parser().parse_args(argv)
    config = load_config(args.config)
    common = ["--lake", args.lake, *(["--config", args.config] if args.config else [])]
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range(ingest_movielens.LOGICAL_DAYS)]
    display = Display(f"batch-recall demo: MovieLens-100K in {args.lake}")
    display.console.print("starting Spark")
    lake = Lake(spark_session("run_demo", args.master, small_days=True), args.lake)
    display.step("ingest_movielens", days[0], lambda: ingest_movielens.main([*common, "--ds", days[0].isoformat()]))
    for day in days[:-2]:
        run_day(lake, config, day, common, display, tables_only=True)
    scored, held_out = days[-2:]
    run_day(lake, config, scored, common, display, against=[held_out])
    run_variant(display, scored, held_out, common)
    display.summary()
    compare(lake, scored, display.console)
    show_published(args.lake, display.console)
    display.console.print(f"report of {scored}: {report_path(args.lake, scored)}", soft_wrap=True)


def show_published(lake: str, console: Console) -> None:
    """Print where the candidates are, and one user's list as ranking would read it."""
    lists = read_candidates(lake)
    user = lists["user_id"].iloc[0]
    best = lists[lists["user_id"] == user].head(5)
    console.print(f"published: {lists['user_id'].nunique():,} users, {len(lists):,} candidates in {lake}/candidates")
    console.print(
        f"  user {user}: " + ", ".join(f"{row.item_id} ({row.score:.2f})" for row in best.itertuples()) + ", ..."
    )
    call = f'read_candidates("{lake}", ["{user}"])'
    console.print(f"  read them:  from jobs.serving import read_candidates; {call}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
