"""evaluation: metrics of a day's candidates on the clicks of later days (jobs/inference/evaluation.py).

Recall, NDCG, HitRate and MRR over the whole corpus, with each user's excluded items masked: overall, by item slice
(head, middle, tail, never clicked, new), and for cold and warm users. Item coverage, the share of never clicked items
in the lists, and the share of the clicked items that are in any list, also of the never clicked and the new ones. The
same for popularity and, for a simulated log, its oracle, over the items that the day's lists could have. All of it is
measured on the users of a sample, if `evaluation.sample_share` asks for one. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import day_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.eligibility import scored_items
from jobs.inference.evaluation import (
    CANDIDATES,
    ORACLE,
    POPULARITY,
    evaluation,
    lists_of_clickers,
    of_sample,
    oracle_lists,
    popular_lists,
    with_new_items,
)
from jobs.inference.exclusions import excluded_items
from jobs.inference.item_slices import item_slices
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized, query
from jobs.raw_log.encoding import union
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument(
        "--against",
        type=day_argument,
        nargs="+",
        metavar="DAY",
        help="first and last day of the clicks (default: the day after --ds)",
    )
    parser.add_argument("--if-any", action="store_true", help="do nothing if the day has no candidates")
    return parser


@contextmanager
def day_evaluation(lake: Lake, config: Config, ds: dt.date, first: dt.date, last: dt.date) -> Iterator[DataFrame]:
    """The rows of the table evaluation for the candidates of `ds` on the clicks of `first` to `last`."""
    share = config.evaluation.sample_share
    candidates = lake.required_day(tables.CANDIDATES, ds)
    version = candidates.select("model_version").first()[0]  # type: ignore[index]
    clicks = of_sample(lake.between(tables.INTERACTIONS, first, last), share)
    histories = of_sample(excluded_items(lake.day(tables.USER_HISTORIES, ds)), share)
    at = [*config.evaluation.cutoffs]
    with ExitStack() as stack:

        def computed(rows: DataFrame) -> DataFrame:
            return stack.enter_context(materialized(rows)).rows

        items = computed(scored_items(lake, config, ds).select("item_id", "available", "published_at"))
        slices = computed(item_slices(lake, config, ds))
        frames = {"interactions": clicks, "item_slices": slices, "user_histories": histories}
        relevant = query(lake.spark, "evaluation/relevant", frames)
        vocabularies, new_days = lake.read(tables.VOCABULARIES), config.evaluation.new_item_days
        made = stack.enter_context(materialized(with_new_items(relevant, items, vocabularies, first, new_days)))
        relevant = made.rows
        scored = of_sample(candidates, share).select("user_id", F.col("candidates.item_id").alias("item_ids"))
        lists = {  # of users with clicks
            CANDIDATES: lists_of_clickers(scored, relevant, made.count),
            POPULARITY: computed(popular_lists(relevant, slices, items, histories, max(at))),
        }
        if lake.has_day(tables.ORACLE, ds):
            oracle = lake.day(tables.ORACLE, ds)
            lists[ORACLE] = computed(oracle_lists(oracle, relevant, slices, items, histories, max(at)))
        channels = [
            evaluation(
                scored if channel == CANDIDATES else of_clickers, of_clickers, relevant, slices, items, at
            ).withColumn("channel", F.lit(channel))
            for channel, of_clickers in lists.items()
        ]
        labels = {"against_from": first, "against_to": last, "model_version": version, "sample_share": share}
        yield union(channels).withColumns({name: F.lit(label) for name, label in labels.items()})


def days_of_clicks(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[dt.date, dt.date]:
    """First and last day of the clicks; ends the program if they are not after --ds or not in order."""
    days = args.against or [args.ds + dt.timedelta(days=1)]
    if len(days) > 2 or days[0] <= args.ds or days[-1] < days[0]:
        given = [str(day) for day in days]
        parser.error(f"--against must be one day, or a first and a last day, after --ds {args.ds}, got {given}")
    return days[0], days[-1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    first, last = days_of_clicks(parser, args)
    lake, config = open_lake(args, "evaluate_candidates")
    if args.if_any and not lake.has_day(tables.CANDIDATES, args.ds):
        say(f"there are no candidates of {args.ds}: nothing is evaluated")
        return 0
    lake.require_day(tables.INTERACTIONS, last)
    with day_evaluation(lake, config, args.ds, first, last) as rows:
        return lake.overwrite(tables.EVALUATION, args.ds, rows)


if __name__ == "__main__":
    run(main)
