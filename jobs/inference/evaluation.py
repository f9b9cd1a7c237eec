"""Metrics of candidate lists on later clicks, over the whole corpus, and the lists that they are compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.queries import query
from jobs.serving.verdicts import Z

CANDIDATES, POPULARITY, ORACLE = "candidates", "popularity", "oracle"  # column `channel` of the table evaluation
MILLIONTHS = 1_000_000
MAX_BROADCAST_USERS = 1_000_000  # ids that every executor keeps in memory, about 50 bytes each


def of_sample(rows: DataFrame, share: float) -> DataFrame:
    """The rows (user_id, ...) of a share of all users, by a hash of user_id; all rows if it is 1.

    The same users on every day and in every table; a larger share has them, too.
    """
    number = F.pmod(F.xxhash64("user_id", F.lit("evaluation")), F.lit(MILLIONTHS))
    return rows if share == 1 else rows.where(number < F.lit(share * MILLIONTHS))


def lists_of_clickers(lists: DataFrame, relevant: DataFrame, clicks: int) -> DataFrame:
    """The rows of `lists` of users in `relevant`, which has `clicks` rows.

    Most users do not click on a day. The lists of all need not be shuffled to be joined with the clicks, unless the
    users who click are too many for every executor to keep their ids.
    """
    users = relevant.select("user_id").distinct()
    if clicks <= MAX_BROADCAST_USERS or _users(relevant) <= MAX_BROADCAST_USERS:
        users = F.broadcast(users)
    return lists.join(users, "user_id", "left_semi")


def _users(relevant: DataFrame) -> int:
    """About how many users have a row: within a few per cent, for which no id is shuffled."""
    return int(relevant.agg(F.approx_count_distinct("user_id")).first()[0])  # type: ignore[index]


def ranking_metrics(relevant: DataFrame, lists: DataFrame, at: Sequence[int]) -> DataFrame:
    """Rows (slice, metric, k, value, users, interval_low, interval_high): means over users with their 95 % interval."""
    lengths = F.array(*(F.lit(k) for k in at))
    frames = {"relevant": relevant, "lists": lists}
    return query(lists.sparkSession, "evaluation/ranking_metrics", frames, at=lengths, z=Z)


def evaluation(
    lists: DataFrame,
    of_clickers: DataFrame,
    relevant: DataFrame,
    item_slices: DataFrame,
    items: DataFrame,
    at: Sequence[int],
) -> DataFrame:
    """Rows (slice, metric, k, value, users) that measure `lists` (user_id, item_ids) at each length k in `at`.

    Those that are means over users have the 95 % interval of the mean (interval_low, interval_high).
    of_clickers: the lists of users in `relevant`. The lists of others count only for the metrics without clicks.
    """
    frames = {"lists": lists, "item_slices": item_slices, "item_snapshot": items}
    clicked = {"lists": of_clickers, "relevant": relevant}
    coverage = query(lists.sparkSession, "evaluation/clicked_item_coverage", clicked, k=max(at))
    of_lists = query(lists.sparkSession, "evaluation/list_metrics", frames, k=max(at)).unionByName(coverage)
    return ranking_metrics(relevant, of_clickers, at).unionByName(of_lists, allowMissingColumns=True)


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
