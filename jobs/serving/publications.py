"""Reads the table publications with Spark: its last row is the pointer that readers follow.

A publication names a day, a model version and exact Delta versions of the tables in PINNED_TABLES. Publications are
added by compare-and-set in `jobs.serving.publishing`.
"""

from __future__ import annotations

import datetime as dt
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.files import hadoop_path
from jobs.lake.integrity.detect import VersionLost
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.queries import query
from jobs.lake.tables import SchemaMismatch

PINNED_TABLES = (tables.CANDIDATES, tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PUBLISHED_LISTS = "user_id string, scored_from long, candidates {}, scored_at timestamp"


def last_publication(lake: Lake) -> Row | None:
    """The publication that readers follow now; None before the first publication."""
    return max(lake.rows(tables.PUBLICATIONS), key=lambda row: row.publication, default=None)


def newest_versions(lake: Lake) -> dict[str, int]:
    """The newest Delta version of each pinned table, by its column in publications.

    Raises NoSuchDay if one of the tables was never written.
    """
    return {f"{table.name}_version": lake.version(table) for table in PINNED_TABLES}


def last_scored_at(lake: Lake, ds: dt.date, version: int) -> dt.datetime | None:
    """When the last list of a day was scored, in UTC. With the model version, this identifies the day's lists."""
    lists = lake.day(tables.CANDIDATES, ds, version=version)
    micros = lists.agg(F.unix_micros(F.max("scored_at"))).first()[0]  # type: ignore[index]
    return None if micros is None else EPOCH + dt.timedelta(microseconds=micros)


def is_readable(lake: Lake, publication: Row) -> bool:
    """Whether every file that a publication points to still exists.

    Raises TableDamaged if the log of a table is damaged.
    """
    for table in PINNED_TABLES:
        try:
            files = lake.day(table, publication.ds, version=publication[f"{table.name}_version"]).inputFiles()
        except (SchemaMismatch, VersionLost, AnalysisException):
            return False
        paths = (hadoop_path(lake.spark, unquote(file)) for file in files)
        exists = (filesystem.exists(path) for filesystem, path in paths)
        if not all(exists) or (table is tables.CANDIDATES and not files):
            return False
    return True


def were_users_forgotten(lake: Lake, version: int) -> bool:
    """Whether `forget_users` removed users from candidates after this version: no other job merges into that table."""
    later = F.col("version") > version
    history = DeltaTable.forPath(lake.spark, lake.table_path(tables.CANDIDATES)).history()
    return not history.where(later & (F.col("operation") == "MERGE")).isEmpty()


def published_lists(lake: Lake, model_version: str | None) -> DataFrame:
    """Rows (user_id, scored_from, candidates, scored_at) of a model's last publication; no rows if there is none."""
    last = None
    if model_version is not None:
        of_model = [row for row in lake.rows(tables.PUBLICATIONS) if row.model_version == model_version]
        last = max(of_model, key=lambda row: row.publication, default=None)
    if last is None:
        candidates_type = tables.CANDIDATES.schema["candidates"].dataType.simpleString()
        return lake.spark.createDataFrame([], PUBLISHED_LISTS.format(candidates_type))
    lists = lake.day(tables.CANDIDATES, last.ds, version=last.candidates_version)
    users = lake.day(tables.USER_EMBEDDINGS, last.ds, version=last.user_embeddings_version)
    joined = lists.join(users.select("user_id", "scored_from"), "user_id")
    return joined.select("user_id", "scored_from", "candidates", "scored_at")


def published_candidates(lake: Lake) -> DataFrame:
    """The published candidates, read at exactly the version that the last publication names.

    Raises NoSuchDay before the first publication.
    """
    publications = lake.read(tables.PUBLICATIONS)
    current = last_publication(lake)
    if current is None:
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    candidates = lake.day(tables.CANDIDATES, current.ds, version=current.candidates_version)
    return query(lake.spark, "candidates/current", {"candidates": candidates, "publications": publications})
