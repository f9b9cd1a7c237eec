"""Finds Delta tables: read as files, they would give the rows of old versions and deleted rows too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pyspark.sql import SparkSession

from jobs.raw_log.files.paths import spark_path

LOG = "_delta_log"


def is_delta_table(spark: SparkSession, path: str) -> bool:
    """Whether a path is the folder of a Delta table. A pattern is not."""
    filesystem, folder = spark_path(spark, f"{path.rstrip('/')}/{LOG}")
    return bool(filesystem.isDirectory(folder))


def require_no_delta_table(spark: SparkSession, path: str, files: Collection[str]) -> None:
    """Raises ValueError if a file is in the folder of a Delta table. path: of all files, for the message."""
    jvm: Any = spark._jvm
    seen: set[str] = set()
    for parent in {file.rsplit("/", 1)[0] for file in files}:
        folder = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(f"{parent}/"))
        filesystem = folder.getFileSystem(spark._jsc.hadoopConfiguration())
        while folder is not None and (name := str(folder.toString())) not in seen:
            seen.add(name)
            if filesystem.isDirectory(jvm.org.apache.hadoop.fs.Path(folder, LOG)):
                raise ValueError(
                    f"{path} must not be files of a Delta table, which has old rows as well; give the folder of the "
                    f"table: {name.rstrip('/')}"
                )
            folder = folder.getParent()
