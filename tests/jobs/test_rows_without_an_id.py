"""Clicks without an impression, and impressions without a request: each is compared with its own kind only."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.test_build_reconciliation import DAYS, Log, at
from tests.jobs.test_unclicked_of_requests import DAY, request, unclicked


def test_clicks_without_an_impression_are_compared_by_user_and_item(lake: Lake) -> None:
    """Several clicks at one time with different rewards conflict only if they are of one user and item."""
    day, log = DAYS[0], Log(lake)
    log.shown(day, "a", 10), log.shown(day, "u1", 10), log.land()
    clicks = [("u1", "i1", 1.0), ("u2", "i1", 2.0), ("u1", "i2", 3.0), ("u1", "i1", 4.0)]
    rows = [(day, None, user, item, at(day, 11), reward) for user, item, reward in clicks]
    log.lake.overwrite(tables.CLICKS, day, log.lake.spark.createDataFrame(rows, tables.CLICKS.schema))
    row = log.run(day)
    assert (row.clicks, row.orphan_clicks, row.conflicting_clicks, row.matched_clicks) == (4, 4, 1, 0)


def test_an_impression_without_a_request_is_not_of_the_request_with_its_name(spark: SparkSession) -> None:
    numbers = [("item_id", f"i{n}", n, DAY) for n in range(2, 12)]
    vocabularies = spark.createDataFrame(numbers, tables.VOCABULARIES.schema)
    named = request(spark, ("i2", 1, True), ("i3", 2, False), request_id="None-0-i4")
    alone = request(spark, ("i4", 1, True), ("i5", 2, True), request_id=None)
    empty = request(spark, ("i6", 1, True), ("i7", 2, False), request_id="")
    found = unclicked(named.union(alone).union(empty), vocabularies, 2)
    assert {key: items for key, items in found.items() if any(items)} == {"None-0-i4-0-i2": [3, 0]}
    assert len(found) == 4
