"""Which clicked items a user is not shown again, by the rule `exclusions.clicked`.

The table user_histories has them by day. With the rule "ever", which needs no day, those of old days are merged into
one element: a row grows with the distinct items of a user, up to `exclusions.max_old_items`, and not with the days.
"""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame

from jobs.lake.queries import query

FIRST_DAY = dt.date(1970, 1, 1)  # before all clicks
DAYS_APART = 30  # last days whose clicked items are kept by day with the rule "ever"


def excluded_since(rule: str | int, ds: dt.date) -> dt.date:
    """The first day whose clicked items are still excluded at the end of `ds`.

    rule: `exclusions.clicked`, a number of days, "ever" or "never".
    """
    if isinstance(rule, int):
        return ds - dt.timedelta(days=rule - 1)
    return {"ever": FIRST_DAY, "never": ds + dt.timedelta(days=1)}[rule]


def merged_until(rule: str | int, ds: dt.date) -> dt.date:
    """The last day whose clicked items are merged with those of the days before; FIRST_DAY if none are.

    The items of a number of days must be dropped day by day, so they stay apart.
    """
    return ds - dt.timedelta(days=DAYS_APART) if rule == "ever" else FIRST_DAY


def excluded_items(histories: DataFrame) -> DataFrame:
    """Rows (user_id, history, excluded): `excluded` are ascending indices of items not shown to the user again."""
    return query(histories.sparkSession, "user_histories/excluded", {"user_histories": histories})
