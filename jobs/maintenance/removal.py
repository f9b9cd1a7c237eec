"""Removes the rows of users from the tables of a lake, those included that name a user only through an impression.

Each removal is a merge instead of a delete by condition: the table's log would store the text of the condition, and
with it the ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.file_layout import merge_in_order, row_group_size
from jobs.lake.files import delta_paths
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.files import CORRUPT_ROW
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from model.training.processes.lines import say

WORDS = r'[\s,;|:"{}\[\]\\]+'  # separates the words of a row that could not be parsed
FIRST = (tables.CLICKS.name, tables.QUARANTINE.name)  # whose rows name impressions, which are removed afterwards


@dataclass(frozen=True)
class Match:
    """Rows of a table that belong to users: `condition` on the table and `source`, which has their `forgotten` ids.

    source: at most one row for a row of the table. keeps_order: whether a file keeps the order of its other rows.
    """

    source: DataFrame
    condition: Column
    keeps_order: bool = False


def remove_users(lake: Lake, user_ids: Sequence[str], window: AttributionWindow) -> Counter[str]:
    """Remove the users from all tables of the lake and print the rows of each; returns the removed rows by user.

    Clicks and refused rows go before the impressions that they name, so that an interrupted run can be repeated.
    """
    ids = lake.spark.createDataFrame([(user_id,) for user_id in user_ids], "forgotten string")
    paths, removed = delta_paths(lake.spark, lake.uri), Counter[str]()
    for name in sorted(paths, key=lambda name: (name not in FIRST, name)):
        table = DeltaTable.forPath(lake.spark, paths[name])
        if matches := rows_of_users(lake, name.rsplit("/", 1)[-1], table.toDF(), ids, window):
            of_table = sum((remove(lake, table, name, match) for match in matches), Counter[str]())
            say(f"{name}: {of_table.total():,} rows")
            removed += of_table
    return removed


def rows_of_users(lake: Lake, name: str, rows: DataFrame, ids: DataFrame, window: AttributionWindow) -> list[Match]:
    """How the rows of a table that belong to the users `ids` are found; empty for a table without users."""
    users = F.broadcast(ids)
    if name == tables.CLICKS.name:
        named = clicks_of_users(lake, rows, ids, window)
        has_key = (F.col("impression_id") == F.col("of_impression")) & (F.col("ds") == F.col("of_ds"))
        by_impression = Match(named, has_key & F.col("user_id").isNull())
        return [Match(users, F.col("user_id") == F.col("forgotten")), by_impression]
    if name == tables.QUARANTINE.name:
        same = (F.col("row") == F.col("of_row")) & (F.col("ds") == F.col("of_ds"))
        return [Match(refused_of_users(lake, rows, ids, window), same)]
    if name == tables.VOCABULARIES.name:
        return [Match(users, (F.col("feature") == "user_id") & (F.col("value") == F.col("forgotten")))]
    if "user_id" in rows.columns:
        return [Match(users, F.col("user_id") == F.col("forgotten"), keeps_order=True)]
    return []


def remove(lake: Lake, table: DeltaTable, name: str, match: Match) -> Counter[str]:
    """Remove the rows of a match, or their ids from the vocabularies; returns their number by user."""
    found = table.toDF().join(match.source, match.condition).groupBy("forgotten").count()
    counts = Counter({row.forgotten: row["count"] for row in found.collect()})  # at most one row for each given id
    if not counts:
        return counts
    merge = table.merge(match.source, match.condition)
    if name == tables.VOCABULARIES.name:  # the row stays, so that no other user gets its index
        merge = merge.whenMatchedUpdate(set={"value": F.lit(None)})
    else:
        merge = merge.whenMatchedDelete()
    if match.keeps_order:  # look-ups stay fast
        with merge_in_order(lake.spark), row_group_size(lake.spark, USERS_PER_ROW_GROUP):
            merge.execute()
    else:
        merge.execute()
    return counts


def clicks_of_users(lake: Lake, clicks: DataFrame, ids: DataFrame, window: AttributionWindow) -> DataFrame:
    """Rows (of_ds, of_impression, forgotten): clicks (ds, impression_id, user_id) without a user_id that are theirs."""
    refused = lake.read(tables.QUARANTINE).where(F.col("table") == tables.IMPRESSIONS.name)
    columns = ("ds", "impression_id", "user_id", "impressed_at")
    shown = lake.read(tables.IMPRESSIONS).select(*columns)
    shown = shown.unionByName(lake.read(tables.INTERACTIONS).select(*columns))
    shown = shown.unionByName(
        refused.select(
            "ds", in_row("impression_id"), in_row("user_id"), F.lit(None).cast("timestamp").alias("impressed_at")
        )
    )
    frames = {"clicks": clicks, "shown": shown, "forgotten": ids.select(F.col("forgotten").alias("user_id"))}
    days = {"window_days": window.window_days, "skew_days": window.clock_skew_days}
    return query(lake.spark, "clicks/of_users", frames, **days).toDF("of_ds", "of_impression", "forgotten")


def refused_of_users(lake: Lake, refused: DataFrame, ids: DataFrame, window: AttributionWindow) -> DataFrame:
    """Rows (of_ds, of_row, forgotten): rows of the quarantine that are theirs.

    These name one of the users, or an impression of one; or they could not be parsed, and one of their words is an id.
    """
    row, users = [F.col("ds").alias("of_ds"), F.col("row").alias("of_row")], F.broadcast(ids)
    words = F.split(F.get_json_object("row", f"$.{CORRUPT_ROW}"), WORDS)
    named = refused.select(
        *row, F.explode(F.array_compact(F.array_append(F.coalesce(words, F.array()), in_row("user_id"))))
    )
    direct = named.join(users, F.col("col") == F.col("forgotten")).drop("col")
    clicks = refused.where(F.col("table") == tables.CLICKS.name)
    clicks = clicks.select("ds", "row", in_row("impression_id"), in_row("user_id"))
    theirs = clicks_of_users(lake, clicks, ids, window)
    same = (F.col("impression_id") == F.col("of_impression")) & (F.col("ds") == F.col("of_ds"))
    indirect = (
        clicks.where("user_id is null").join(theirs, same).select("of_ds", F.col("row").alias("of_row"), "forgotten")
    )
    return direct.unionByName(indirect).groupBy("of_ds", "of_row").agg(F.min("forgotten").alias("forgotten"))


def in_row(column: str) -> Column:
    """A column of a refused row, from its JSON text."""
    return F.get_json_object("row", f"$.{column}").alias(column)
