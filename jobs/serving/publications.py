"""Reading what is published: with Spark, or without it through delta-rs and pyarrow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from urllib.parse import unquote

import pandas as pd
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.files import hadoop
from jobs.lake.integrity.detect import VersionLost
from jobs.lake.partitions import Lake, NoSuchDay, SchemaMismatch
from jobs.lake.queries import query
from jobs.serving.lookup import PublishedCandidates


def last_publication(lake: Lake) -> Row | None:
    """What readers follow now; None before the first publication."""
    return lake.read(tables.PUBLICATIONS).orderBy(F.desc("publication")).first()


PINNED = (tables.CANDIDATES, tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS)  # what a publication names versions of


def newest_versions(lake: Lake) -> dict[str, int]:
    """The newest Delta versions of the tables that a publication points to, by its columns.

    Raises NoSuchDay where one of them was never written.
    """
    return {f"{table.name}_version": lake.version(table) for table in PINNED}


def last_scored_at(lake: Lake, ds: dt.date, version: int) -> dt.datetime | None:
    """When the last of a day's lists was made: with the model it tells them from those of another run."""
    lists = lake.day(tables.CANDIDATES, ds, version=version)
    return lists.agg(F.max("scored_at")).first()[0]  # type: ignore[index]


def is_readable(lake: Lake, publication: Row) -> bool:
    """Whether what a publication points to is still there: the versions, and every file of its day in them.

    Raises TableDamaged where the log of a table is damaged as it is now.
    """
    for table in PINNED:
        try:
            files = lake.day(table, publication.ds, version=publication[f"{table.name}_version"]).inputFiles()
        except (SchemaMismatch, VersionLost, AnalysisException):
            return False
        there = (filesystem.exists(path) for filesystem, path in (hadoop(lake.spark, unquote(file)) for file in files))
        if not all(there) or (table is tables.CANDIDATES and not files):
            return False
    return True


def were_users_forgotten(lake: Lake, version: int) -> bool:
    """Whether users left the candidates after this version (`jobs.forget_users`): no other job merges into them."""
    later = F.col("version") > version
    history = DeltaTable.forPath(lake.spark, lake.table_path(tables.CANDIDATES)).history()
    return not history.where(later & (F.col("operation") == "MERGE")).isEmpty()


LISTS = "user_id string, scored_from long, candidates {}, scored_at timestamp"


def published_lists(lake: Lake, model_version: str | None) -> DataFrame:
    """Rows (user_id, scored_from, candidates, scored_at) of the last publication of a model; none for None."""
    last = None
    if model_version is not None:
        of_model = lake.read(tables.PUBLICATIONS).where(F.col("model_version") == model_version)
        last = of_model.orderBy(F.desc("publication")).first()
    if last is None:
        kind = tables.CANDIDATES.schema["candidates"].dataType.simpleString()
        return lake.spark.createDataFrame([], LISTS.format(kind))
    lists = lake.read(tables.CANDIDATES, version=last.candidates_version).where(F.col("ds") == last.ds)
    users = lake.read(tables.USER_EMBEDDINGS, version=last.user_embeddings_version).where(F.col("ds") == last.ds)
    return lists.join(users.select("user_id", "scored_from"), "user_id").select(
        "user_id", "scored_from", "candidates", "scored_at"
    )


def published_candidates(lake: Lake) -> DataFrame:
    """The published candidates at exactly the version that the pointer names. Raises NoSuchDay before the first one."""
    publications = lake.read(tables.PUBLICATIONS)
    current = last_publication(lake)
    if current is None:
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    candidates = lake.read(tables.CANDIDATES, version=current.candidates_version)
    return query(lake.spark, "candidates/current", {"candidates": candidates, "publications": publications})


def read_candidates(lake: str, user_ids: Sequence[str] | None = None) -> pd.DataFrame:
    """The published lists as (user_id, item_id, score, rank, source, model_version), a row an item; no Spark.

    Of the users asked for, or of all. Raises NoSuchDay before the first publication. Who looks users up again and again
    opens `PublishedCandidates` once.
    """
    published = PublishedCandidates.current(lake)
    return published.all() if user_ids is None else published.of(user_ids)
