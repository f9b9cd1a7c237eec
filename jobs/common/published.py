"""Reading what is published: with Spark, or without it through delta-rs and DuckDB."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pandas as pd
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.partitions import Lake, NoSuchDay
from jobs.common.queries import query

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
    current = publications.orderBy(F.desc("publication")).first()
    if current is None:
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    candidates = lake.read(tables.CANDIDATES, version=current.candidates_version)
    return query(lake.spark, "candidates/current", {"candidates": candidates, "publications": publications})


def read_candidates(lake: str, user_ids: Sequence[str] | None = None) -> pd.DataFrame:
    """The published lists as (user_id, item_id, score, rank, source, model_version), a row an item; no Spark.

    Of the users asked for, or of all. Raises NoSuchDay before the first publication.
    """
    current = _current(lake)
    pinned = DeltaTable(f"{lake}/{tables.CANDIDATES.name}", version=int(current["candidates_version"]))
    files = pinned.file_uris(file_pruning_predicate=[("ds", "=", str(current["ds"])[:10])])
    wanted = "where list_contains(?, user_id)" if user_ids is not None else ""
    text = f"""
        select user_id, item.item_id, item.score, item.rank, item.source, model_version
        from (select user_id, unnest(candidates) as item, model_version from read_parquet(?) {wanted})
        order by user_id, item.rank
    """
    parameters = [files] if user_ids is None else [files, list(user_ids)]
    return duckdb.connect().execute(text, parameters).df()


def _current(lake: str) -> pd.Series:
    try:
        files = DeltaTable(f"{lake}/{tables.PUBLICATIONS.name}").file_uris()
    except Exception as error:
        raise NoSuchDay(f"nothing is published in {lake}") from error
    pointer = duckdb.connect().execute(
        "select * from read_parquet(?, hive_partitioning = true) order by publication desc limit 1", [files]
    )
    return pointer.df().iloc[0]
