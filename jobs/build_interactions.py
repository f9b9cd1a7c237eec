"""interactions: every impression of a day joined with its first click inside the attribution window.

Reads impressions of the day, and clicks that landed on it or up to one window later; overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.partitions import Lake
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def window_days(window_hours: int) -> int:
    """Days after its impression on which a click may still land."""
    return -(-window_hours // 24)


def interactions(impressions: DataFrame, clicks: DataFrame, ds: dt.date, window_hours: int) -> DataFrame:
    """One row for each distinct impression of `ds`, with `clicked` and `clicked_at`."""
    return query(
        impressions.sparkSession,
        "interactions/query",
        {"impressions": impressions, "clicks": clicks},
        ds=ds,
        last_click_ds=ds + dt.timedelta(days=window_days(window_hours)),
        window_hours=window_hours,
    )


def touched_days(lake: Lake, ds: dt.date, window_hours: int) -> list[dt.date]:
    """The days before `ds`, in order, that clicks landing on `ds` belong to: they are to be built again."""
    touched = query(
        lake.spark,
        "interactions/touched_days",
        {"impressions": lake.read(tables.IMPRESSIONS), "clicks": lake.read(tables.CLICKS)},
        ds=ds,
        first_ds=ds - dt.timedelta(days=window_days(window_hours)),
        day_before=ds - dt.timedelta(days=1),
    )
    return sorted(row.ds for row in touched.collect())  # at most one row a day of the window


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_interactions")
    lake.required_day(tables.IMPRESSIONS, args.ds)
    rows = interactions(
        lake.read(tables.IMPRESSIONS), lake.read(tables.CLICKS), args.ds, config.log.attribution_window_hours
    )
    return lake.overwrite(tables.INTERACTIONS, args.ds, rows)


if __name__ == "__main__":
    run(main)
