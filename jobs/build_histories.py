"""user_histories: each user's last clicks, oldest first, and all items that they ever clicked, at the end of a day.

Yesterday's histories and the day's interactions; overwrites the day.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def user_histories(interactions: DataFrame, before: DataFrame, vocabularies: DataFrame, length: int) -> DataFrame:
    """Rows (user_id, history, clicked_item_indices) of every user who ever clicked; at most `length` in `history`."""
    frames = {"interactions": interactions, "before": before, "vocabularies": vocabularies}
    clicks = query(interactions.sparkSession, "user_histories/query", frames)
    size = F.size("all_clicks")
    start = F.greatest(size - F.lit(length), F.lit(0)) + 1
    return clicks.select(
        "user_id", F.slice("all_clicks", start, F.lit(length)).alias("history"), "clicked_item_indices"
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_histories")
    rows = user_histories(
        lake.required_day(tables.INTERACTIONS, args.ds),
        lake.latest_before(tables.USER_HISTORIES, args.ds, config.log.state_lookback_days),
        lake.read(tables.VOCABULARIES),
        config.features.history_length,
    )
    return lake.overwrite(tables.USER_HISTORIES, args.ds, rows)


if __name__ == "__main__":
    run(main)
