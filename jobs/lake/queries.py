"""Run a table's SQL file with named parameters and DataFrames."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession

import sql


def query(spark: SparkSession, name: str, frames: dict[str, DataFrame], **args: Any) -> DataFrame:
    """The result of `sql/NAME.sql`.

    Raises ValueError where the parameters or frames given are not exactly those that the file names: Spark
    ignores an unknown one in silence.
    """
    if set(frames) != sql.frames(name) or set(args) != sql.parameters(name):
        raise ValueError(
            f"sql/{name}.sql takes frames {sorted(sql.frames(name))} and parameters {sorted(sql.parameters(name))}, "
            f"got {sorted(frames)} and {sorted(args)}"
        )
    return spark.sql(sql.read(name), args=args, **frames)
