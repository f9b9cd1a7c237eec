"""interactions: every impression of a day joined with its first click inside the attribution window.

Reads the impressions of the day, the ids that landed in the window before it (an impression that lands again is a
duplicate), and the clicks that landed on the day or up to one window later: if a day is built again, its outcomes
include the clicks that have landed since. Overwrites the day. Stops if an earlier day has landed but was not run.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.lake import Lake
from jobs.lake.queries import empty_frame, materialized, query
from jobs.raw_log.attribution import AttributionWindow, attributed_clicks
from jobs.raw_log.preconditions import require_impressions, require_previous_days_run

ANY_ORDER = "--any-order"  # for days that are built again, or that others are evaluated on
MAX_BROADCAST_IDS = 1_000_000  # hashes of ids that every executor keeps in memory, about 30 bytes each


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument(
        ANY_ORDER, action="store_true", help="also if an earlier day was not run: only the day's outcomes"
    )
    return parser


def repeated_ids(impressions: DataFrame, ds: dt.date, window: AttributionWindow) -> DataFrame:
    """Rows (id): hashes of the impression_ids of `ds` that landed more than once. impressions: of any days."""
    days = {"ds": ds, "first_copy_ds": window.first_duplicate_day(ds)}
    return query(impressions.sparkSession, "interactions/repeated", {"impressions": impressions}, **days)


@contextmanager
def computed_ids(repeated: DataFrame) -> Iterator[DataFrame]:
    """`repeated_ids`, computed once. There are mostly none: then Spark leaves their joins out of the plan."""
    with materialized(repeated) as ids:
        hint = "broadcast" if ids.count <= MAX_BROADCAST_IDS else "shuffle_hash"
        yield ids.rows.hint(hint) if ids.count else empty_frame(repeated.sparkSession, repeated.schema)


def interactions(
    impressions: DataFrame,
    clicks: DataFrame,
    ds: dt.date,
    window: AttributionWindow,
    repeated: DataFrame | None = None,
) -> DataFrame:
    """One row per distinct impression of `ds`, with `clicked`, `clicked_at`, `reward` and `outcome_final_at`.

    repeated: `repeated_ids` of the impressions, if they have been computed.
    """
    if repeated is None:
        repeated = repeated_ids(impressions, ds, window)
    return query(
        impressions.sparkSession,
        "interactions/query",
        {"impressions": impressions, "clicks": clicks, "repeated": repeated},
        ds=ds,
        first_copy_ds=window.first_duplicate_day(ds),
        day_before=ds - dt.timedelta(days=1),
        first_click_ds=window.first_click_day(ds),
        last_click_ds=window.last_click_day(ds),
        window_hours=window.window_hours,
        clock_skew_seconds=window.clock_skew_seconds,
    )


def with_examined(rows: DataFrame, rule: str, positions: int) -> DataFrame:
    """`rows` with `examined`: whether an impression counts as an exposure, by the rule `log.examination`.

    above_last_click: it was clicked, or its position is above the last click of its request. first_positions: its
    position is one of the first `positions`. An impression without position or request is examined only if clicked.
    """
    if rule == "above_last_click":
        last = query(rows.sparkSession, "interactions/last_clicks", {"interactions": rows})
        rows = rows.join(last, ["request_id", "user_id"], "left")
        seen: Column = F.col("position") < F.col("last_clicked_position")
    else:
        seen = F.col("position") <= positions if rule == "first_positions" else F.lit(True)
    return rows.withColumn("examined", F.col("clicked") | F.coalesce(seen, F.lit(False))).drop("last_clicked_position")


def days_changed_by_late_clicks(lake: Lake, config: Config, ds: dt.date) -> list[dt.date]:
    """The days before `ds`, in order, that must be rebuilt: clicks that landed on `ds` change their outcomes."""
    window, yesterday = AttributionWindow.from_config(config), ds - dt.timedelta(days=1)
    changed = query(
        lake.spark,
        "interactions/days_changed_by_late_clicks",
        {
            "interactions": lake.between(tables.INTERACTIONS, window.first_impression_day(ds), yesterday),
            "clicks": attributed_clicks(lake, config, ds),
        },
        ds=ds,
        first_ds=window.first_impression_day(ds),
        day_before=yesterday,
        clock_skew_seconds=window.clock_skew_seconds,
    )
    return sorted(row.ds for row in changed.collect())  # at most one row per day of the window


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_interactions")
    if not args.any_order:
        require_previous_days_run(lake, args.ds, config.log.state_lookback_days)
    require_impressions(lake, args.ds)
    clicks, window = attributed_clicks(lake, config, args.ds), AttributionWindow.from_config(config)
    impressions = lake.between(tables.IMPRESSIONS, window.first_duplicate_day(args.ds), args.ds)
    with computed_ids(repeated_ids(impressions, args.ds, window)) as repeated:
        rows = interactions(impressions, clicks, args.ds, window, repeated)
        rows = with_examined(rows, config.log.examination, config.log.examined_positions)
        return overwrite_checked(lake, tables.INTERACTIONS, args.ds, rows)


if __name__ == "__main__":
    run(main)
