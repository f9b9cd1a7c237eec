"""reconciliation: what became of each impression and each click that landed on a day, counted by row.

impressions in = interactions + set aside + duplicate + refused; clicks in = matched + set aside + orphan + early + late
+ duplicate + refused. Set aside are those of users with too many impressions; late means after the attribution window.
If these sums do not match, the job fails and writes nothing. Warns if the day's volume or click rate is unusual.
Overwrites the day.
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
from jobs.lake import tables
from jobs.lake.checks import checked
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.attribution import AttributionWindow, attributed_clicks


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def reconciliation(
    impressions: DataFrame,
    raw_clicks: DataFrame,
    clicks: DataFrame,
    quarantine: DataFrame,
    interactions: DataFrame,
    set_aside: DataFrame,
    ds: dt.date,
    window: AttributionWindow,
) -> DataFrame:
    """One row of counts: the table's columns, and `first_clicks` and `missed` for the checks.

    clicks: `attributed_clicks` of `ds`. set_aside: rows (ds, user_id). The other frames may have any days.
    """
    return query(
        interactions.sparkSession,
        "reconciliation/query",
        {
            "impressions": impressions,
            "raw_clicks": raw_clicks,
            "clicks": clicks,
            "quarantine": quarantine,
            "interactions": interactions,
            "set_aside": set_aside,
        },
        ds=ds,
        first_copy_ds=window.first_duplicate_day(ds),
        first_ds=window.first_impression_day(ds),
        last_ds=window.last_impression_day(ds),
        window_days=window.window_days,
        skew_days=window.clock_skew_days,
        clock_skew_seconds=window.clock_skew_seconds,
    )


def reconciliation_of_day(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """The day's row, from the days of the lake's tables that can matter for it."""
    window = AttributionWindow.from_config(config)
    shown = window.first_impression_day(ds), window.last_impression_day(ds)
    return reconciliation(
        lake.between(tables.IMPRESSIONS, window.first_duplicate_day(ds), shown[1]),
        lake.day(tables.CLICKS, ds),
        attributed_clicks(lake, config, ds),
        lake.day(tables.QUARANTINE, ds),
        lake.between(tables.INTERACTIONS, *shown),
        lake.between(tables.SET_ASIDE_USERS, *shown),
        ds,
        window,
    )


def overwrite(lake: Lake, config: Config, ds: dt.date, rows: DataFrame) -> int:
    """Check the row and write it. Raises CheckFailed if a row of the log was lost or counted twice."""
    compared = config.reconciliation
    past = lake.window(tables.RECONCILIATION, ds - dt.timedelta(days=1), compared.compared_days)
    settings = {"band": compared.band, "min_days": compared.min_compared_days}
    with checked(tables.RECONCILIATION, ds, rows, {"past": past}, **settings) as row:
        return lake.overwrite(tables.RECONCILIATION, ds, row.rows.select(tables.RECONCILIATION.columns))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_reconciliation")
    lake.require_day(tables.INTERACTIONS, args.ds)
    return overwrite(lake, config, args.ds, reconciliation_of_day(lake, config, args.ds))


if __name__ == "__main__":
    run(main)
