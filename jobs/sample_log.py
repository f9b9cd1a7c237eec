"""A small lake to try things on: what a fraction of the users saw and clicked, and all items.

Copies the raw tables of the day --ds, and with --days of those before it, from --lake into --into; what was known of
users and items before lands on the first day. Which users are taken depends on their ids alone: one who is in for a
fraction is in on every day, and for every larger fraction. All other jobs run on the new lake as on any other.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import count_argument, job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake.days import days_between
from jobs.lake.files import qualified_uri
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.raw_log.landing import land, raw_tables
from jobs.raw_log.preconditions import require_impressions

PARTS = 1_000_000  # of the users, by a hash of their ids


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument(
        "--into", required=True, metavar="LAKE", help="folder of the new lake: a path or any Hadoop URI"
    )
    parser.add_argument("--fraction", type=_fraction, required=True, help="of the users: above 0, at most 1")
    parser.add_argument("--days", type=count_argument, default=1, help="how many days, --ds the last (default: 1)")
    return parser


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise argparse.ArgumentTypeError(f"wants a number above 0 and at most 1, got {text!r}")
    return fraction


def sampled(rows: DataFrame, fraction: float) -> DataFrame:
    """The rows of a fraction of the users, always the same ones."""
    return rows.where(F.pmod(F.xxhash64("user_id"), F.lit(PARTS)) < fraction * PARTS)


def clicks_of(clicks: DataFrame, impressions: DataFrame, fraction: float) -> DataFrame:
    """Clicks that name one of these impressions, or one of the sampled users."""
    by_user = F.col("user_id").isNotNull()
    shown = impressions.select("impression_id").distinct()
    named = clicks.where(~by_user).join(shown, "impression_id", "left_semi")
    return named.unionByName(sampled(clicks.where(by_user), fraction))


def known(lake: Lake, table: Table, first: dt.date, last: dt.date) -> DataFrame:
    """What landed on these days, and on the first also what is known from before: the newest row of each key."""
    rows = lake.read(table)
    earlier = rows.where(F.col("ds") <= F.lit(first))
    newest = earlier.groupBy(*table.key).agg(F.max_by(F.struct(*rows.columns), "ds").alias("row")).select("row.*")
    landed = rows.where((F.col("ds") > F.lit(first)) & (F.col("ds") <= F.lit(last)))
    return newest.withColumn("ds", F.lit(first)).unionByName(landed)


def copy_sample(lake: Lake, into: Lake, config: Config, last: dt.date, days: int, fraction: float) -> dict[str, int]:
    """Land the sample as the log had landed; returns the rows of each raw table."""
    first = last - dt.timedelta(days=days - 1)
    raw = raw_tables(config)
    impressions = sampled(lake.window(raw["impressions"], last, days), fraction)
    frames = {
        "users": sampled(known(lake, raw["users"], first, last), fraction),
        "items": known(lake, raw["items"], first, last),
        "clicks": clicks_of(lake.window(raw["clicks"], last, days), impressions, fraction),
        "impressions": impressions,
    }
    return land(into, config, days_between(first, last), frames)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "sample_log", written=args.into)
    into = Lake(lake.spark, args.into)
    if qualified_uri(lake.spark, args.into) == qualified_uri(lake.spark, args.lake):
        raise ValueError(f"--into wants another lake than --lake, got {args.into} and {args.lake}, which are one")
    require_impressions(lake, args.ds)
    counts = copy_sample(lake, into, config, args.ds, args.days, args.fraction)
    print(", ".join(f"{rows:,} {name}" for name, rows in counts.items()), flush=True)
    return counts["impressions"]


if __name__ == "__main__":
    run(main)
