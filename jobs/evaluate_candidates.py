"""evaluation: how good a day's candidates are on the clicks of the days after it.

Whole corpus, items that are excluded for a user masked: Recall, NDCG, HitRate and MRR, overall, by item slice (head,
middle, tail) and for cold and warm users; item coverage and the share of never clicked items in the lists; beside them
popularity. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import functions as F

from jobs.cli.arguments import day_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.evaluation import CANDIDATES, ORACLE, POPULARITY, evaluation, oracle_lists, popular_lists
from jobs.inference.exclusions import excluded_items
from jobs.inference.item_slices import item_slices
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized, query
from jobs.raw_log.encoding import union


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument(
        "--against",
        type=day_argument,
        nargs="+",
        metavar="DAY",
        help="first and last day of the clicks (default: the day after --ds)",
    )
    parser.add_argument("--if-any", action="store_true", help="a day without candidates is no error: leave it")
    return parser


def evaluate(lake: Lake, config: Config, ds: dt.date, first: dt.date, last: dt.date) -> int:
    """Evaluate the candidates of `ds` on the clicks of `first` to `last`; returns the rows written."""
    rows = lake.required_day(tables.CANDIDATES, ds)
    version = rows.select("model_version").first()[0]  # type: ignore[index]
    lists = rows.select("user_id", F.col("candidates.item_id").alias("item_ids"))
    clicks = lake.window(tables.INTERACTIONS, last, (last - first).days + 1)
    items, histories = (
        lake.required_day(tables.item_snapshot(config), ds),
        excluded_items(lake.day(tables.USER_HISTORIES, ds)),
    )
    at = [*config.evaluation.cutoffs]
    with materialized(item_slices(lake, config, ds)) as slices:
        frames = {"interactions": clicks, "item_slices": slices, "user_histories": histories}
        with materialized(query(lake.spark, "evaluation/relevant", frames)) as relevant:
            popular = popular_lists(relevant, slices, items, histories, max(at))
            oracle = lake.day(tables.ORACLE, ds)
            channels = [
                evaluation(lists, relevant, slices, items, at).withColumn("channel", F.lit(CANDIDATES)),
                evaluation(popular, relevant, slices, items, at).withColumn("channel", F.lit(POPULARITY)),
            ]
            if not oracle.isEmpty():
                best = oracle_lists(oracle, relevant, slices, histories, max(at))
                channels.append(evaluation(best, relevant, slices, items, at).withColumn("channel", F.lit(ORACLE)))
            labels = {"against_from": first, "against_to": last, "model_version": version}
            found = union(channels).withColumns({name: F.lit(label) for name, label in labels.items()})
            return lake.overwrite(tables.EVALUATION, ds, found)


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days = args.against or [args.ds + dt.timedelta(days=1)]
    if len(days) > 2 or days[0] <= args.ds or days[-1] < days[0]:
        parser.error(
            f"--against wants one day or a first and a last one, after --ds {args.ds}, got {[str(day) for day in days]}"
        )
    lake, config = open_lake(args, "evaluate_candidates")
    if args.if_any and lake.day(tables.CANDIDATES, args.ds).isEmpty():
        return 0
    lake.required_day(tables.INTERACTIONS, days[-1])
    return evaluate(lake, config, args.ds, days[0], days[-1])


if __name__ == "__main__":
    run(main)
