"""user_histories: each user's last clicks, oldest first, and the items to exclude, at the end of a day.

Adds the day's clicks to yesterday's histories, for the users of the day's snapshot. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.sections import Exclusions
from jobs.inference.exclusions import excluded_since, merged_until
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.queries import query

MAX_INT = 2**31 - 1


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def user_histories(
    interactions: DataFrame,
    before: DataFrame,
    user_snapshot: DataFrame,
    vocabularies: DataFrame,
    ds: dt.date,
    length: int,
    exclusions: Exclusions,
) -> DataFrame:
    """Rows (user_id, history, clicked_minutes, clicked) of the snapshot's users with a click.

    `history` has at most `length` items, and `clicked_minutes` the minute of each, null where `before` has no times.

    exclusions: what `clicked` has: `jobs.inference.exclusions`.
    """
    return query(
        interactions.sparkSession,
        "user_histories/query",
        {
            "interactions": interactions,
            "before": before,
            "user_snapshot": user_snapshot,
            "vocabularies": vocabularies,
        },
        ds=ds,
        length=length,
        excluded_since=excluded_since(exclusions.clicked, ds),
        merged_until=merged_until(exclusions.clicked, ds),
        max_merged=exclusions.max_old_items or MAX_INT,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_histories")
    rows = user_histories(
        lake.required_day(tables.INTERACTIONS, args.ds),
        lake.latest_before(tables.TIMED_USER_HISTORIES, args.ds, config.log.state_lookback_days),
        lake.required_day(tables.user_snapshot(config), args.ds),
        lake.read(tables.VOCABULARIES),
        args.ds,
        config.features.history_length,
        config.exclusions,
    )
    if config.features.has_gaps:
        return overwrite_checked(lake, tables.TIMED_USER_HISTORIES, args.ds, rows)
    return overwrite_checked(lake, tables.USER_HISTORIES, args.ds, rows.drop("clicked_minutes"))


if __name__ == "__main__":
    run(main)
