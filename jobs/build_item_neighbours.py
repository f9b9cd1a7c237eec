"""item_neighbours: the items that are most similar to each item, by who clicked both in the training window.

Sums the pairs of each day in the window, so that a day adds only its own pairs. Items that are not available, are on
the blocklist or are too old are no neighbours; if none is left because of `scoring.max_item_age_days`, the job stops.
Overwrites the day. Without a model or variant that has a `scoring.neighbour_quota`, nothing is built.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items, require_eligible
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.days import days_between
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from model.training.processes.lines import say, warn


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def item_neighbours(pairs: DataFrame, items: DataFrame, per_item: int, shrinkage: float) -> DataFrame:
    """Rows (item_index, neighbours), best neighbour first. items: the day's snapshot, with `available`."""
    frames = {"daily_item_pairs": pairs, "items": items}
    return query(pairs.sparkSession, "item_neighbours/query", frames, per_item=per_item, shrinkage=shrinkage)


def item_neighbours_of_day(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's rows of item_neighbours, from the tables in the lake."""
    pairs = lake.window(tables.DAILY_ITEM_PAIRS, ds, config.log.examples_window_days)
    settings = config.neighbours
    return item_neighbours(pairs, eligible_items(lake, config, ds), settings.per_item, settings.shrinkage)


def warn_of_days_without_pairs(lake: Lake, config: Config, ds: dt.date) -> None:
    """Print how many days have examples and no pairs, as after the quota was first set; the first may have none."""
    window = days_between(ds - dt.timedelta(days=config.log.examples_window_days - 1), ds)
    examples = [day for day in window if lake.has_day(tables.training_examples(config), day)]
    without = [day for day in examples if not lake.has_day(tables.DAILY_ITEM_PAIRS, day)]
    if without not in ([], examples[:1]):
        warn(
            f"{len(without)} of {len(examples)} days of the window have no pairs of items: count them by "
            f"run_day --from build_item_pairs --to build_item_pairs --ds {without[0]} --last {without[-1]}",
        )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_neighbours")
    if not config.reads_neighbours:
        say("no neighbours of items are built, because scoring.neighbour_quota is 0")
        return 0
    require_eligible(lake, config, args.ds)
    warn_of_days_without_pairs(lake, config, args.ds)
    return overwrite_checked(lake, tables.ITEM_NEIGHBOURS, args.ds, item_neighbours_of_day(lake, config, args.ds))


if __name__ == "__main__":
    run(main)
