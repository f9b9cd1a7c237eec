"""Reads the table publications: its last row is the pointer that readers follow.

A publication names a day, a model version and exact Delta versions of the tables in PINNED_TABLES. Publications are
added by compare-and-set in `jobs.serving.publishing`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from delta.tables import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.lake import tables
from jobs.lake.files import NoSuchLake, all_exist, has_tables
from jobs.lake.integrity.detect import VersionLost
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.queries import empty_frame, query
from jobs.lake.snapshots import can_open_by_delta_rs, operations_after
from jobs.lake.tables import SchemaMismatch

PINNED_TABLES = (tables.CANDIDATES, tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS)
MAX_LISTS = 1_000_000  # whose times are read by this process: more are read by the executors
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PUBLISHED_LISTS = StructType(
    [*tables.USER_EMBEDDINGS.pick("user_id", "scored_from"), *tables.CANDIDATES.pick("candidates", "scored_at")]
)


def last_publication(lake: Lake, is_wanted: Callable[[Row], bool] = lambda _: True) -> Row | None:
    """The last publication that is wanted, by default the one that readers follow now; None if there is none."""
    return max(filter(is_wanted, lake.rows(tables.PUBLICATIONS)), key=lambda row: row.publication, default=None)


def newest_versions(lake: Lake) -> dict[str, int]:
    """The newest Delta version of each pinned table, by its column in publications.

    Raises NoSuchDay if one of the tables was never written.
    """
    return {f"{table.name}_version": lake.version(table) for table in PINNED_TABLES}


def last_scored_at(lake: Lake, ds: dt.date, version: int) -> dt.datetime | None:
    """When the last list of a day was scored, in UTC. With the model version, this identifies the day's lists.

    Read without Spark on a local disk, unless there are more than MAX_LISTS lists.
    """
    if lake.row_count(tables.CANDIDATES, ds, version=version) > MAX_LISTS:
        last = lake.day(tables.CANDIDATES, ds, version=version).agg(F.unix_micros(F.max("scored_at"))).first()
        return None if last is None or last[0] is None else EPOCH + dt.timedelta(microseconds=last[0])
    ends = [batch["scored_at"].max() for batch in lake.batches(tables.CANDIDATES, ds, ["scored_at"], version=version)]
    return max((end for end in ends if isinstance(end, dt.datetime)), default=None)


def is_readable(lake: Lake, publication: Row) -> bool:
    """Whether every file that a publication points to still exists.

    Raises TableDamaged if the log of a table is damaged.
    """
    for table in PINNED_TABLES:
        try:
            of_day = lake.days_of(table, publication.ds, 1, publication[f"{table.name}_version"])
        except (SchemaMismatch, VersionLost, DeltaError, AnalysisException):
            return False
        files = [] if of_day is None else of_day.urls
        if not all_exist(lambda: lake.spark, files) or (table is tables.CANDIDATES and not files):
            return False
    return True


def were_users_forgotten(lake: Lake, version: int) -> bool:
    """Whether `forget_users` removed users from candidates after this version: no other job merges into that table."""
    path = lake.table_path(tables.CANDIDATES)
    if can_open_by_delta_rs(path):
        return "MERGE" in operations_after(path, version)
    history = DeltaTable.forPath(lake.spark, path).history()
    return not history.where((F.col("version") > version) & (F.col("operation") == "MERGE")).isEmpty()


def published_lists(lake: Lake, model_version: str | None) -> DataFrame:
    """Rows (user_id, scored_from, candidates, scored_at) of a model's last publication; no rows if there is none."""
    last = None
    if model_version is not None:
        last = last_publication(lake, lambda row: row.model_version == model_version)
    if last is None:
        return empty_frame(lake.spark, PUBLISHED_LISTS)
    lists = lake.day(tables.CANDIDATES, last.ds, version=last.candidates_version)
    users = lake.day(tables.USER_EMBEDDINGS, last.ds, version=last.user_embeddings_version)
    joined = lists.join(users.select("user_id", "scored_from"), "user_id")
    return joined.select("user_id", "scored_from", "candidates", "scored_at")


def published_candidates(lake: Lake) -> DataFrame:
    """The published candidates, read at exactly the version that the last publication names.

    Raises NoSuchDay before the first publication, and NoSuchLake if the folder is none.
    """
    current = last_publication(lake)
    if current is None:
        if not has_tables(lake.uri, lambda: lake.spark):
            raise NoSuchLake(lake.uri)
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    candidates = lake.day(tables.CANDIDATES, current.ds, version=current.candidates_version)
    parameters = {"ds": current.ds, "model_version": current.model_version}
    return query(lake.spark, "candidates/current", {"candidates": candidates}, **parameters)
