"""Which clicked items a user is not shown again, by the rule `exclusions.clicked`."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame

from jobs.lake.queries import query


def excluded_since(rule: str | int, ds: dt.date) -> dt.date:
    """The first day whose clicked items are still excluded at the end of `ds`.

    rule: `exclusions.clicked`, a number of days, "ever" or "never".
    """
    if isinstance(rule, int):
        return ds - dt.timedelta(days=rule - 1)
    return {"ever": dt.date(1970, 1, 1), "never": ds + dt.timedelta(days=1)}[rule]


def excluded_items(histories: DataFrame) -> DataFrame:
    """Rows (user_id, history, excluded): `excluded` are ascending indices of items not shown to the user again."""
    return query(histories.sparkSession, "user_histories/excluded", {"user_histories": histories})
