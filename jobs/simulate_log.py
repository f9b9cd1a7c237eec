"""Write a planted world into the raw tables: a log of any size whose best possible recall is known.

Latent user and item factors, Zipf popularity, slates of 20 with position bias, returning users, new items every day;
some clicks land a day late, some impressions and clicks land twice; a click's reward is a dwell time that grows with
the affinity. Lands the days --ds to --ds + --days - 1, and writes the items that the oracle would show each user (table
oracle). Every feature that the configuration declares gets values that hang on the factors.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.cli.arguments import count_argument, day_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.features import logged_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.queries import query
from jobs.raw_log.encoding import union
from jobs.raw_log.landing import land, raw_tables
from jobs.raw_log.simulator import BLOCK, World, requests
from model.features import Feature

ORACLE_LENGTH = 300  # items a user: enough for a list of 100 when what they clicked is left out


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--users", type=count_argument, default=2_000, help="users of the world (default 2000)")
    parser.add_argument("--items", type=count_argument, default=1_000, help="items of the world (default 1000)")
    parser.add_argument("--days", type=count_argument, default=1, help="days to land, --ds first (default 1)")
    parser.add_argument("--start", help="the world's day 0, YYYY-MM-DD (default: --ds)", type=day_argument)
    parser.add_argument(
        "--active", type=float, default=0.5, help="share of users with a request on a day (default 0.5)"
    )
    parser.add_argument("--late", type=float, default=0.05, help="share of clicks that land a day late (default 0.05)")
    parser.add_argument("--twice", type=float, default=0.01, help="share of rows that land twice (default 0.01)")
    parser.add_argument(
        "--taste",
        type=float,
        default=World.taste,
        help=f"weight of users' tastes beside popularity (default {World.taste})",
    )
    parser.add_argument("--seed", type=count_argument, default=1)
    return parser


def day_log(spark: SparkSession, world: World, start: dt.date, ds: dt.date, active: float) -> DataFrame:
    """Exposures of one day (request_id, user_id, item_id, position, impressed_at, clicked_at, reward), by workers."""
    day, midnight = (ds - start).days, pd.Timestamp(ds, tz="UTC")

    def simulate(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            numbers = np.sort(frame["id"].to_numpy())
            chosen = np.random.default_rng([world.seed, 6, day, int(numbers[0])]).random(len(numbers)) < active
            if not chosen.any():
                continue
            log = pd.DataFrame(requests(world, numbers[chosen], day))
            impressed = midnight + pd.to_timedelta(log["second"], unit="s")
            request = ds.strftime("%Y%m%d") + "-" + log["user"].astype(str)
            yield pd.DataFrame({
                "impression_id": request + "-" + log["position"].astype(str), "request_id": request,
                "user_id": "u" + log["user"].astype(str), "item_id": "i" + log["item"].astype(str),
                "position": log["position"].astype("int32"), "impressed_at": impressed,
                "clicked_at": (impressed + pd.to_timedelta(log["delay"], unit="s")).where(log["clicked"]),
                "reward": log["dwell"].where(log["clicked"]),
            })  # fmt: skip

    schema = (
        "impression_id string, request_id string, user_id string, item_id string, position int, "
        "impressed_at timestamp, clicked_at timestamp, reward double"
    )
    parts = -(-world.users // BLOCK)
    return spark.range(0, world.users, 1, parts).mapInPandas(simulate, schema)


def raw_frames(log: DataFrame, ds: dt.date, late: float, twice: float) -> dict[str, DataFrame]:
    """impressions and clicks of a day; the clicks that land late carry the next day's `ds`."""
    draw = F.pmod(F.xxhash64("impression_id"), F.lit(10_000)) / 10_000  # the same for a row on every run
    again = F.explode(F.when(draw < twice, F.array(F.lit(1), F.lit(2))).otherwise(F.array(F.lit(1))))
    landed = log.withColumn("ds", F.lit(ds)).withColumn("_copy", again).drop("_copy")
    day = F.when(draw > 1 - late, F.date_add(F.lit(ds), 1)).otherwise(F.lit(ds))
    clicks = landed.where("clicked_at is not null").withColumn("ds", day)
    return {
        "impressions": landed.select(tables.IMPRESSIONS.columns),
        "clicks": clicks.select(tables.CLICKS.columns),
    }


def planted(side: str, features: Sequence[Feature], factors: np.ndarray) -> pd.DataFrame:
    """Values of each declared feature that hang on the factors [N, Z]: the nearest centre, a coordinate, the vector."""
    frame: dict[str, object] = {}
    nearest = np.argsort(-factors, axis=1)  # [N, Z]
    for number, feature in enumerate(logged_features(features)):
        if feature.kind == "numeric":
            frame[feature.name] = factors[:, number % factors.shape[1]]
        elif feature.kind == "vector":
            frame[feature.name] = np.resize(factors, (len(factors), feature.length)).tolist()
        elif feature.kind == "item_list":
            frame[feature.name] = [[f"i{place}" for place in row[: feature.length]] for row in nearest]
        elif feature.length > 1:
            frame[feature.name] = [[f"{side}{place}" for place in row] for row in nearest[:, :2]]
        else:
            frame[feature.name] = [f"{side}{place}" for place in nearest[:, number % 2]]
    return pd.DataFrame(frame, index=range(len(factors)))


def users_of(spark: SparkSession, config: Config, world: World, ds: dt.date) -> DataFrame:
    """Every user of the world with planted features, as they land on its day 0."""

    def describe(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            described = planted("u", config.features.user, world.user_factors(frame["id"].to_numpy()))
            yield described.assign(user_id=[f"u{number}" for number in frame["id"]], ds=ds)[table.columns]

    table = raw_tables(config)["users"]
    return spark.range(0, world.users, 1, -(-world.users // BLOCK)).mapInPandas(describe, table.schema)


def items_of(spark: SparkSession, config: Config, world: World, start: dt.date, ds: dt.date) -> DataFrame | None:
    """The items that appear on `ds`; None where there are none."""
    new = np.flatnonzero(world.first_days() == (ds - start).days)
    if not len(new):
        return None
    table = raw_tables(config)["items"]
    described = planted("i", config.features.item, world.item_factors()[new])
    midnight = pd.Timestamp(ds, tz="UTC")
    frame = described.assign(item_id=[f"i{number}" for number in new], ds=ds, available=True, published_at=midnight)
    return spark.createDataFrame(frame[table.columns], table.schema)


def oracle(spark: SparkSession, world: World, day: int) -> DataFrame:
    """Rows (user_id, item_ids): the items that each user would click most often, for a ceiling on recall."""

    def best(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            numbers = frame["id"].to_numpy()
            items = world.best_items(world.user_factors(numbers), day, ORACLE_LENGTH)
            lists = [[f"i{item}" for item in row] for row in items]
            yield pd.DataFrame({"user_id": [f"u{number}" for number in numbers], "item_ids": lists})

    parts = -(-world.users // BLOCK)
    return spark.range(0, world.users, 1, parts).mapInPandas(best, "user_id string, item_ids array<string>")


def oracle_recall(log: DataFrame, lists: DataFrame) -> float:
    """Recall@20 of the oracle's lists on the clicks of a log: what no model can beat by much."""
    clicked = log.where("clicked_at is not null").select("user_id", "item_id").distinct()
    relevant = clicked.withColumns({"item_slice": F.lit("tail"), "is_cold": F.lit(False)})
    frames = {"relevant": relevant, "lists": lists}
    found = query(log.sparkSession, "evaluation/ranking_metrics", frames, at=F.array(F.lit(20)))
    row = found.where("slice = 'all' and metric = 'recall'").first()
    return float(row.value) if row is not None else float("nan")


def raw_days(spark: SparkSession, config: Config, world: World, args: argparse.Namespace) -> dict[str, DataFrame]:
    """The raw tables of the days asked for: with late clicks of the day before, without those to come."""
    days = [args.ds + dt.timedelta(days=number) for number in range(args.days)]
    start = args.start or args.ds
    logged = [day for day in [args.ds - dt.timedelta(days=1), *days] if day >= start]
    frames = [raw_frames(day_log(spark, world, start, day, args.active), day, args.late, args.twice) for day in logged]
    landed = {
        name: union([frame[name] for frame in frames]).where(F.col("ds").between(days[0], days[-1]))
        for name in frames[0]
    }
    items = [frame for day in days if (frame := items_of(spark, config, world, start, day)) is not None]
    if items:
        landed["items"] = union(items)
    if args.ds == start:
        landed["users"] = users_of(spark, config, world, start)
    return landed


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "simulate_log")
    world, start = World(args.users, args.items, args.seed, taste=args.taste), args.start or args.ds
    days = [args.ds + dt.timedelta(days=number) for number in range(args.days)]
    rows = sum(land(lake, config, days, raw_days(lake.spark, config, world, args)).values())
    for day in days:
        lake.overwrite(tables.ORACLE, day, oracle(lake.spark, world, (day - start).days))
    print(world.describe())
    recall = oracle_recall(day_log(lake.spark, world, start, days[-1], args.active), lake.day(tables.ORACLE, days[-1]))
    print(f"oracle: Recall@20 {recall:.4f} on the clicks of {days[-1]}")
    return rows


if __name__ == "__main__":
    run(main)
