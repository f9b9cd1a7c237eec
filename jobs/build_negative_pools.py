"""unclicked_items: the pool of items that were exposed in the window and never clicked.

Only exposures whose attribution window has closed count. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.build_interactions import window_days
from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.partitions import day_end
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def unclicked_items(
    counts: DataFrame, interactions: DataFrame, ds: dt.date, window_hours: int, minimum_exposures: int
) -> DataFrame:
    """Rows (item_id, item_index, exposures) of the pool at the end of `ds`; both frames hold the window's days."""
    return query(
        counts.sparkSession,
        "unclicked_items/query",
        {"daily_item_counts": counts, "interactions": interactions},
        last_closed_ds=ds - dt.timedelta(days=window_days(window_hours)),
        day_end=day_end(ds),
        window_hours=window_hours,
        minimum_exposures=minimum_exposures,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_negative_pools")
    hours = config.log.attribution_window_hours
    rows = unclicked_items(
        lake.window(tables.DAILY_ITEM_COUNTS, args.ds, config.log.examples_window_days),
        lake.window(tables.INTERACTIONS, args.ds, window_days(hours)),
        args.ds,
        hours,
        config.pool.minimum_exposures,
    )
    return lake.overwrite(tables.UNCLICKED_ITEMS, args.ds, rows)


if __name__ == "__main__":
    run(main)
