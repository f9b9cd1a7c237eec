"""unclicked_items: the pool of items that were exposed in the window and never clicked.

Only exposures whose attribution window has closed count. The pool is limited to the `pool.max_items` most exposed
items. Overwrites the day. Without a model or variant that draws from the pool, nothing is built.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.presets import reads_pool
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.days import day_end
from jobs.lake.queries import query
from jobs.raw_log.attribution import AttributionWindow
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def unclicked_items(
    counts: DataFrame, interactions: DataFrame, ds: dt.date, min_exposures: int, max_items: int
) -> DataFrame:
    """Rows (item_id, item_index, exposures) of the pool at the end of `ds`.

    counts: of the training window. interactions: of the days whose attribution windows may still be open.
    """
    return query(
        counts.sparkSession,
        "unclicked_items/query",
        {"window_item_counts": counts, "interactions": interactions},
        day_end=day_end(ds),
        min_exposures=min_exposures,
        max_items=max_items,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_negative_pools", uses_adopted=True)
    if not reads_pool(config):
        say("no pool is built, because no preset of the configuration draws from it")
        return 0
    counts = lake.required_day(tables.WINDOW_ITEM_COUNTS, args.ds)
    recent = lake.window(tables.INTERACTIONS, args.ds, AttributionWindow.from_config(config).window_days)
    rows = unclicked_items(counts, recent, args.ds, config.pool.min_exposures, config.pool.max_items)
    return overwrite_checked(lake, tables.UNCLICKED_ITEMS, args.ds, rows, window_item_counts=counts)


if __name__ == "__main__":
    run(main)
