"""reconciliation: where each impression and each click that landed on a day went, to the row.

impressions in = interactions + duplicate + refused; clicks in = matched + orphan + early + late + duplicate + refused.
Fails, and writes nothing, where that does not add up. Warns of a day that is unlike the days before it. Overwrites the
day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.attribution import Reach, attributed_clicks
from jobs.common.checks import findings, require
from jobs.common.partitions import Lake, kept
from jobs.common.queries import query

PAST_DAYS = 14  # that a day is compared with
LEAST_DAYS = 5  # before which nothing can be said
BAND = 4  # deviations


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def reconciliation(
    impressions: DataFrame,
    raw_clicks: DataFrame,
    clicks: DataFrame,
    quarantine: DataFrame,
    interactions: DataFrame,
    ds: dt.date,
    reach: Reach,
) -> DataFrame:
    """One row of counts. Beside the table's columns `first_clicks` and `missed`, which the checks hold against them."""
    return query(
        interactions.sparkSession,
        "reconciliation/query",
        {
            "impressions": impressions,
            "raw_clicks": raw_clicks,
            "clicks": clicks,
            "quarantine": quarantine,
            "interactions": interactions,
        },
        ds=ds,
        first_copy_ds=reach.first_copy(ds),
        first_ds=reach.first_shown(ds),
        last_ds=reach.last_shown(ds),
        first_click_ds=reach.first_copy(ds),
        last_click_ds=reach.last_click(reach.last_shown(ds)),
        window_days=reach.window_days,
        skew_days=reach.clock_skew_days,
        clock_skew_seconds=reach.clock_skew_seconds,
    )


def overwrite(lake: Lake, ds: dt.date, rows: DataFrame) -> int:
    """Check the row and write it. Raises CheckFailed where a row is lost or doubled."""
    past = lake.window(tables.RECONCILIATION, ds - dt.timedelta(days=1), PAST_DAYS)
    with kept(rows.withColumn("ds", F.lit(ds))) as checked:
        found = findings(checked, "reconciliation", {"past": past}, band=BAND, least_days=LEAST_DAYS)
        require(tables.RECONCILIATION, ds, found)
        return lake.overwrite(tables.RECONCILIATION, ds, checked.select(tables.RECONCILIATION.columns))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_reconciliation")
    lake.required_day(tables.INTERACTIONS, args.ds)
    rows = reconciliation(
        lake.read(tables.IMPRESSIONS),
        lake.read(tables.CLICKS),
        attributed_clicks(lake, config, args.ds),
        lake.read(tables.QUARANTINE),
        lake.read(tables.INTERACTIONS),
        args.ds,
        Reach.of(config),
    )
    return overwrite(lake, args.ds, rows)


if __name__ == "__main__":
    run(main)
