"""interactions: every impression of a day joined with its first click inside the attribution window.

Reads the impressions of the day, the ids that landed in the window before it (an impression that lands again is a
duplicate), and the clicks that landed on the day or up to one window later: if a day is built again, its outcomes
include the clicks that have landed since. Users with more than `log.max_impressions_per_user` impressions on the day
are set aside: they have a row in set_aside_users, and no interaction. Overwrites the day in both tables. Stops if an
earlier day has landed but was not run.
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
from jobs.raw_log.preconditions import DayStopped, require_impressions, require_previous_days_run

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


def set_aside_users(impressions: DataFrame, ds: dt.date, max_impressions: int) -> DataFrame:
    """Rows (user_id, impressions) of the users with more than `max_impressions` on `ds`. impressions: of any days."""
    frames = {"impressions": impressions}
    return query(impressions.sparkSession, "set_aside_users/query", frames, ds=ds, max_impressions=max_impressions)


def overwrite_set_aside_users(lake: Lake, config: Config, ds: dt.date) -> None:
    """Write the day of set_aside_users; most days of most logs have no rows.

    Raises DayStopped `all_set_aside`, before anything is written, if no user would be left.
    """
    limit, landed = config.log.max_impressions_per_user, lake.row_count(tables.IMPRESSIONS, ds)
    if 0 < limit < landed:
        with materialized(set_aside_users(lake.day(tables.IMPRESSIONS, ds), ds, limit)) as found:
            if found.count:
                _require_others(found.rows, ds, limit, landed)
                lake.overwrite(tables.SET_ASIDE_USERS, ds, found.rows)
                return
    if lake.has_day(tables.SET_ASIDE_USERS, ds):  # the day was built before, with other rows or another limit
        lake.overwrite(tables.SET_ASIDE_USERS, ds, empty_frame(lake.spark, tables.SET_ASIDE_USERS.schema))


def _require_others(found: DataFrame, ds: dt.date, limit: int, landed: int) -> None:
    """Raises DayStopped if the users `found` have all impressions of the day."""
    total = found.agg(F.sum("impressions")).first()
    if total is not None and total[0] == landed:
        message = (
            f"log.max_impressions_per_user must leave a user of {ds}, got {limit:,}: all {landed:,} impressions are"
        )
        raise DayStopped("all_set_aside", f"{message} of users with more")


def interactions(
    impressions: DataFrame,
    clicks: DataFrame,
    ds: dt.date,
    window: AttributionWindow,
    repeated: DataFrame | None = None,
    set_aside: DataFrame | None = None,
) -> DataFrame:
    """One row per distinct impression of `ds`, with `clicked`, `clicked_at`, `reward` and `outcome_final_at`.

    repeated: `repeated_ids` of the impressions, if they have been computed. set_aside: rows (user_id) of the users
    whose impressions are left out; None: nobody's are.
    """
    spark = impressions.sparkSession
    if repeated is None:
        repeated = repeated_ids(impressions, ds, window)
    if set_aside is None:
        set_aside = empty_frame(spark, tables.SET_ASIDE_USERS.schema)
    return query(
        spark,
        "interactions/query",
        {"impressions": impressions, "clicks": clicks, "repeated": repeated, "set_aside": set_aside},
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
    if not args.any_order:  # run_day and rebuild_days look at days before the first run: this job builds no histories
        require_previous_days_run(lake, args.ds, config.log.state_lookback_days, leaves_earlier=True)
    require_impressions(lake, args.ds)
    overwrite_set_aside_users(lake, config, args.ds)
    clicks, window = attributed_clicks(lake, config, args.ds), AttributionWindow.from_config(config)
    impressions = lake.between(tables.IMPRESSIONS, window.first_duplicate_day(args.ds), args.ds)
    with computed_ids(repeated_ids(impressions, args.ds, window)) as repeated:
        set_aside = lake.day(tables.SET_ASIDE_USERS, args.ds)
        rows = interactions(impressions, clicks, args.ds, window, repeated, set_aside)
        rows = with_examined(rows, config.log.examination, config.log.examined_positions)
        return overwrite_checked(lake, tables.INTERACTIONS, args.ds, rows)


if __name__ == "__main__":
    run(main)
