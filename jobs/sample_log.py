"""A small lake to try things on: the log of a fraction of the users, and all items.

Copies the raw tables of the day --ds, and with --days of the days before it, from --lake to --into. The newest earlier
rows of users and items land on the first copied day. Whether a user is sampled depends only on the id: a sampled user
is sampled on every day and for every larger fraction. All other jobs run on the new lake as on any other.
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
from model.training.processes.lines import say

HASH_BUCKETS = 1_000_000  # the resolution of --fraction


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument(
        "--into", required=True, metavar="LAKE", help="folder of the new lake: a path or any Hadoop URI"
    )
    parser.add_argument("--fraction", type=_fraction, required=True, help="share of the users, above 0 and at most 1")
    parser.add_argument("--days", type=count_argument, default=1, help="number of days, --ds the last (default: 1)")
    return parser


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and at most 1, got {text!r}")
    return fraction


def sampled(rows: DataFrame, fraction: float) -> DataFrame:
    """The rows of a fraction of the users, chosen by a hash of user_id."""
    return rows.where(F.pmod(F.xxhash64("user_id"), F.lit(HASH_BUCKETS)) < fraction * HASH_BUCKETS)


def sampled_clicks(clicks: DataFrame, impressions: DataFrame, fraction: float) -> DataFrame:
    """The clicks of sampled users; a click without user_id is sampled if it names one of `impressions`."""
    names_user = F.col("user_id").isNotNull()
    shown = impressions.select("impression_id").distinct()
    by_impression = clicks.where(~names_user).join(shown, "impression_id", "left_semi")
    return by_impression.unionByName(sampled(clicks.where(names_user), fraction))


def landed_or_known(lake: Lake, table: Table, first: dt.date, last: dt.date) -> DataFrame:
    """The rows that landed from `first` to `last`; on `first` the newest row of each key up to that day."""
    rows = lake.read(table)
    earlier = rows.where(F.col("ds") <= F.lit(first))
    newest = earlier.groupBy(*table.key).agg(F.max_by(F.struct(*rows.columns), "ds").alias("row")).select("row.*")
    later = rows.where((F.col("ds") > F.lit(first)) & (F.col("ds") <= F.lit(last)))
    return newest.withColumn("ds", F.lit(first)).unionByName(later)


def raw_sample(lake: Lake, config: Config, last: dt.date, days: int, fraction: float) -> dict[str, DataFrame]:
    """The raw tables of the sampled users, and of all items, for `days` days up to `last`."""
    first, raw = last - dt.timedelta(days=days - 1), raw_tables(config)
    impressions = sampled(lake.window(raw["impressions"], last, days), fraction)
    return {
        "users": sampled(landed_or_known(lake, raw["users"], first, last), fraction),
        "items": landed_or_known(lake, raw["items"], first, last),
        "clicks": sampled_clicks(lake.window(raw["clicks"], last, days), impressions, fraction),
        "impressions": impressions,
    }


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "sample_log", written=args.into)
    source, target = (qualified_uri(lake.spark, uri) for uri in (args.lake, args.into))
    if source == target:
        raise ValueError(f"--into must be another lake than --lake, got {args.into} and {args.lake}")
    require_impressions(lake, args.ds)
    frames = raw_sample(lake, config, args.ds, args.days, args.fraction)
    days = days_between(args.ds - dt.timedelta(days=args.days - 1), args.ds)
    counts = land(Lake(lake.spark, args.into), config, days, frames)
    landed = ", ".join(f"{rows:,} rows of {name}" for name, rows in counts.items())
    say(f"landed in {args.into}: {landed}")
    return counts["impressions"]


if __name__ == "__main__":
    run(main)
