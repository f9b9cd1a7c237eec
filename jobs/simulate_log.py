"""Raw tables of a simulated log of any size, for which the best possible recall is known.

The world has latent user and item factors, Zipf popularity, slates of 20 with position bias, returning users and new
items every day. Some clicks land a day late, some impressions and clicks land twice. A click's reward is a dwell time
that grows with the affinity. Each declared feature has values that depend on the factors; without any, only ids land.
Lands --days days, the first
of which is --ds. The table oracle gets the items that an oracle would show to each user.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.cli.arguments import count_argument, day_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.evaluation import ranking_metrics
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.raw_log.encoding import union
from jobs.raw_log.landing import land
from jobs.raw_log.simulated_tables import day_log, oracle, raw_log_of_day, simulated_items, simulated_users
from jobs.raw_log.simulator import World
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--users", type=count_argument, default=2_000, help="users of the world (default: 2000)")
    parser.add_argument("--items", type=count_argument, default=1_000, help="items of the world (default: 1000)")
    parser.add_argument("--days", type=count_argument, default=1, help="days to land, --ds first (default: 1)")
    parser.add_argument("--start", help="day 0 of the world, YYYY-MM-DD (default: --ds)", type=day_argument)
    parser.add_argument(
        "--active", type=float, default=0.5, help="share of the users with a request on a day (default: 0.5)"
    )
    parser.add_argument("--late", type=float, default=0.05, help="share of clicks that land a day late (default: 0.05)")
    parser.add_argument("--twice", type=float, default=0.01, help="share of rows that land twice (default: 0.01)")
    parser.add_argument(
        "--taste",
        type=float,
        default=World.taste,
        help=f"weight of affinity relative to popularity (default: {World.taste})",
    )
    parser.add_argument("--seed", type=count_argument, default=1, help="seed of every draw (default: 1)")
    return parser


def raw_days(
    spark: SparkSession, config: Config, world: World, args: argparse.Namespace, days: Sequence[dt.date]
) -> dict[str, DataFrame]:
    """The raw tables of `days`, including late clicks of the day before them; users land on the world's day 0."""
    start = args.start or args.ds
    logged = [day for day in [days[0] - dt.timedelta(days=1), *days] if day >= start]
    logs = [
        raw_log_of_day(day_log(spark, world, start, day, args.active), day, args.late, args.twice) for day in logged
    ]
    frames = {
        name: union([log[name] for log in logs]).where(F.col("ds").between(days[0], days[-1])) for name in logs[0]
    }
    items = [frame for day in days if (frame := simulated_items(spark, config, world, start, day)) is not None]
    if items:
        frames["items"] = union(items)
    if days[0] == start:
        frames["users"] = simulated_users(spark, config, world, start)
    return frames


def oracle_recall(log: DataFrame, lists: DataFrame) -> float:
    """Recall@20 of the oracle's lists on the clicks of a log: no model can exceed it by much."""
    clicked = log.where("clicked_at is not null").select("user_id", "item_id").distinct()
    slices = {"item_slice": F.lit("tail"), **dict.fromkeys(("never_clicked", "is_new", "is_cold"), F.lit(False))}
    relevant = clicked.withColumns(slices)
    row = ranking_metrics(relevant, lists, [20]).where("slice = 'all' and metric = 'recall'").first()
    return float(row.value) if row is not None else float("nan")


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "simulate_log", must_exist=False)
    world, start = World(args.users, args.items, args.seed, taste=args.taste), args.start or args.ds
    days = days_between(args.ds, args.ds + dt.timedelta(days=args.days - 1))
    rows = sum(land(lake, config, days, raw_days(lake.spark, config, world, args, days)).values())
    for day in days:
        lake.overwrite(tables.ORACLE, day, oracle(lake.spark, world, (day - start).days))
    last_log = day_log(lake.spark, world, start, days[-1], args.active)
    recall = oracle_recall(last_log, lake.day(tables.ORACLE, days[-1]))
    say(world.describe())
    say(f"oracle: Recall@20 {recall:.4f} on the clicks of {days[-1]}")
    return rows


if __name__ == "__main__":
    run(main)
