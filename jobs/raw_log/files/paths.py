"""Paths of log files as Spark resolves them: one without a scheme is in Hadoop's default file system."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def spark_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Hadoop's FileSystem and the Path, with scheme, that Spark's readers take a path or URI for."""
    found: Any = spark._jvm.org.apache.hadoop.fs.Path(path)  # type: ignore[union-attr]
    filesystem = found.getFileSystem(spark._jsc.hadoopConfiguration())
    return filesystem, filesystem.makeQualified(found)
