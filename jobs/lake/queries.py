"""Runs an SQL file with named parameters and DataFrames; computes a result once for several uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

import sql


def query(spark: SparkSession, name: str, frames: dict[str, DataFrame], **args: Any) -> DataFrame:
    """The result of `sql/NAME.sql`.

    Raises ValueError if the parameters and frames are not exactly those of the file: Spark ignores unknown ones
    silently.
    """
    if set(frames) != sql.frames(name) or set(args) != sql.parameters(name):
        raise ValueError(
            f"sql/{name}.sql takes frames {sorted(sql.frames(name))} and parameters {sorted(sql.parameters(name))}, "
            f"got {sorted(frames)} and {sorted(args)}"
        )
    return spark.sql(sql.read(name), args=args, **frames)


@contextmanager
def materialized(rows: DataFrame) -> Iterator[DataFrame]:
    """Compute `rows` once and cache them until the block ends.

    On a cluster the rows keep their plan, so that those lost with an executor are computed again. In a single process
    no executor can be lost, and the plan is dropped: otherwise every query on the rows would analyse it again.
    """
    if str(rows.sparkSession.sparkContext.master).startswith("local["):
        rows = rows.localCheckpoint()
        cached = rows._jdf.queryExecution().analyzed().rdd()
        release = partial(cached.unpersist, False)
    else:
        rows = rows.persist()
        release = partial(rows.unpersist, False)
    try:
        yield rows
    finally:
        release()
