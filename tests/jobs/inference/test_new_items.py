"""Which of the clicked items are new."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import SparkSession

from jobs.inference.evaluation import with_new_items
from jobs.lake import tables


def test_new_items_are_young_by_publication_or_else_by_their_first_day(spark: SparkSession) -> None:
    first, day = dt.date(2026, 1, 1), dt.date(2026, 1, 10)
    published = {"old": 20, "published": 6, "week": 7, "returned": 20, "unknown": None, "seen": None, "late": None}
    seen = {
        "old": first,
        "published": first,
        "unknown": first,
        "seen": dt.date(2026, 1, 4),
        "late": day,
    } | dict.fromkeys(("week", "returned"), dt.date(2026, 1, 9))
    times = [
        (item, None if age is None else dt.datetime.combine(day - dt.timedelta(days=age), dt.time(23)))
        for item, age in published.items()
        if item != "late"
    ]
    items = spark.createDataFrame(times, "item_id string, published_at timestamp")
    known = [("item_id", item, number, when) for number, (item, when) in enumerate(seen.items(), 2)]
    vocabularies = spark.createDataFrame([*known, ("user_id", "seen", 2, first)], tables.VOCABULARIES.schema)
    relevant = spark.createDataFrame([("u1", item) for item in [*published, "other"]], "user_id string, item_id string")
    rows = with_new_items(relevant, items, vocabularies, day, 7).collect()
    assert {row.item_id for row in rows if row.is_new} == {"published", "seen"}
    assert len(rows) == len(published) + 1
