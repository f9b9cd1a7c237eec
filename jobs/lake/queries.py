"""Runs an SQL file with named parameters and DataFrames; computes a result once for several uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

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


def empty_frame(spark: SparkSession, schema: StructType) -> DataFrame:
    """A frame without rows, which Spark leaves out of every plan; one created from an empty list costs a Spark job."""
    columns = (F.lit(None).cast(field.dataType).alias(field.name) for field in schema)
    return spark.sql("select 1 as x where false").select(*columns)


def is_one_process(spark: SparkSession) -> bool:
    """Whether tasks run in the driver's process, and not on the executors of a cluster."""
    return str(spark.sparkContext.master).startswith("local[")


@dataclass(frozen=True)
class Materialized:
    """Rows that are computed once, and their number."""

    rows: DataFrame
    counted: Observation | None = None

    @cached_property
    def count(self) -> int:
        return self.rows.count() if self.counted is None else int(self.counted.get["rows"])


@contextmanager
def materialized(rows: DataFrame) -> Iterator[Materialized]:
    """Compute `rows` once and cache them until the block ends.

    On a cluster the rows keep their plan, so that those lost with an executor are computed again. In a single process
    no executor can be lost, so the plan is dropped: every query on the rows would have to analyse it again.
    """
    if is_one_process(rows.sparkSession):
        counted = Observation()
        rows = rows.observe(counted, F.count(F.lit(1)).alias("rows")).localCheckpoint()
        made = Materialized(rows, counted)
        cached = rows._jdf.queryExecution().analyzed().rdd()
        release = partial(cached.unpersist, False)
    else:
        made = Materialized(rows.persist())
        release = partial(made.rows.unpersist, False)
    try:
        yield made
    finally:
        release()
