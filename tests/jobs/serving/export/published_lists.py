"""Short lists of three days that tell which day they are of, without a model, and their publications."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving.publications import last_publication
from jobs.serving.publishing import add_publication

FIRST_DAY = dt.date(2026, 3, 1)
USERS, FILES = 1_500, 4
ALL_USERS = [f"user: {number:04}" for number in range(USERS)]
AT = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)


def write_lists(lake: Lake) -> None:
    """Lists of two items of the days 1, 2 and 3, of which item and model tell the day; none is published.

    User 0 has an empty list, and ids have blanks and colons.
    """
    for number in (1, 2, 3):
        items = [
            f"struct(concat('{number}-', id) as item_id, float(0.1) as score, 1 as rank, 'two_tower' as source, "
            "float(0.7) as channel_score)",
            f"struct('i{number}' as item_id, float(1e-9) as score, 2 as rank, 'popular' as source, "
            "cast(null as float) as channel_score)",
        ]
        lists = lake.spark.range(0, USERS, 1, FILES).select(
            F.concat(F.lit("user: "), F.lpad(F.col("id").cast("string"), 4, "0")).alias("user_id"),
            F.expr(f"slice(array({', '.join(items)}), 1, if(id = 0, 0, 2))").alias("candidates"),
            F.lit(f"model{number}").alias("model_version"),
            F.lit(AT).alias("scored_at"),
        )
        lake.overwrite(tables.CANDIDATES, FIRST_DAY + dt.timedelta(days=number - 1), lists)


def publish(lake: Lake, number: int) -> None:
    """Publish the lists of the day `number`; a rollback, if they were published before."""
    target = {
        "ds": FIRST_DAY + dt.timedelta(days=number - 1), "model_version": f"model{number}",
        "candidates_version": number - 1, "item_embeddings_version": 0, "user_embeddings_version": 0, "users": USERS,
    }  # fmt: skip
    add_publication(lake, last_publication(lake), target, AT)
