"""Metrics of candidate lists on later clicks, over the whole corpus, and the lists that they are compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.queries import query

CANDIDATES, POPULARITY, ORACLE = "candidates", "popularity", "oracle"  # column `channel` of the table evaluation


def evaluation(
    lists: DataFrame, relevant: DataFrame, item_slices: DataFrame, items: DataFrame, at: Sequence[int]
) -> DataFrame:
    """Rows (slice, metric, k, value, users) that measure `lists` (user_id, item_ids) at each length k in `at`."""
    spark = lists.sparkSession
    lengths = F.array(*(F.lit(k) for k in at))
    ranking = query(spark, "evaluation/ranking_metrics", {"relevant": relevant, "lists": lists}, at=lengths)
    frames = {"lists": lists, "item_slices": item_slices, "item_snapshot": items}
    coverage = query(spark, "evaluation/clicked_item_coverage", {"relevant": relevant, "lists": lists}, k=max(at))
    return ranking.unionByName(query(spark, "evaluation/list_metrics", frames, k=max(at))).unionByName(coverage)


def with_new_items(
    relevant: DataFrame, items: DataFrame, vocabularies: DataFrame, day: dt.date, days: int
) -> DataFrame:
    """`relevant` with the column `is_new`: the item was published or first seen fewer than `days` days before `day`.

    items: the snapshot of the day of the lists; an item that is not in it is not new, because no list can have it.
    """
    clicked = items.join(relevant.select("item_id").distinct(), "item_id", "left_semi")
    frames = {"item_snapshot": clicked, "vocabularies": vocabularies}
    new = query(relevant.sparkSession, "evaluation/new_items", frames, day=day, days=days)
    flagged = relevant.join(new.withColumn("is_new", F.lit(True)), "item_id", "left")
    return flagged.withColumn("is_new", F.coalesce("is_new", F.lit(False)))


def popular_lists(relevant: DataFrame, slices: DataFrame, items: DataFrame, histories: DataFrame, k: int) -> DataFrame:
    """Rows (user_id, item_ids): the k most clicked available items without excluded ones, for users in `relevant`."""
    clicked = histories.join(relevant.select("user_id"), "user_id", "left_semi")
    longest = clicked.agg(F.max(F.size("excluded"))).first()[0] or 0  # type: ignore[index]
    available = slices.join(items.where("available").select("item_id"), "item_id", "left_semi")
    popular = available.orderBy(F.desc("clicks"), "item_index").limit(k + longest)
    frames = {"popular_items": popular, "relevant": relevant, "user_histories": histories}
    return query(slices.sparkSession, "evaluation/popular_lists", frames, k=k)


def oracle_lists(
    oracle: DataFrame, relevant: DataFrame, slices: DataFrame, items: DataFrame, histories: DataFrame, k: int
) -> DataFrame:
    """Rows (user_id, item_ids): the oracle's k best available items without excluded ones, for users in `relevant`.

    A list is shorter if fewer of the items that the oracle names are available.
    """
    frames = {"oracle": oracle, "relevant": relevant, "item_slices": slices, "user_histories": histories}
    frames["items"] = items
    return query(slices.sparkSession, "evaluation/oracle_lists", frames, k=k)
