"""Writes the files of a commit, lets them be checked, and only then commits them: no row is computed or stored twice.

Delta's `save` writes and commits in one call; its command offers the two steps that are called here one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.queries import empty_frame
from jobs.lake.snapshots import Snapshot, can_read_by_name
from jobs.lake.tables import Table

Check = Callable[[DataFrame], None]  # of rows that are written and not committed; what it raises stops the commit


def can_check_files(path: str, snapshot: Snapshot | None) -> bool:
    """Whether the rows of files in a table's folder are those that the table will have. snapshot: the table now."""
    return can_read_by_name(path) and (snapshot is None or not snapshot.unsafe_features)


def commit_checked(spark: SparkSession, path: str, table: Table, rows: DataFrame, predicate: str, check: Check) -> None:
    """Write `rows`, call `check` with what was written, and replace the rows that fulfil `predicate` by them.

    If `check` raises, nothing is committed; the files stay until maintain_tables removes files of no version.
    """
    jvm: Any = spark._jvm
    delta, session = jvm.org.apache.spark.sql.delta, spark._jsparkSession
    none, mode = jvm.scala.Option.empty(), jvm.org.apache.spark.sql.SaveMode.Overwrite
    merge_schema = {"mergeSchema": "true"} if table.added else {}  # a stored table may lack these columns
    settings = jvm.PythonUtils.toScalaMap({"replaceWhere": predicate, **merge_schema})
    options = delta.DeltaOptions(settings, session.sessionState().conf())
    partitions, no_settings = jvm.PythonUtils.toSeq([table.partition]), jvm.PythonUtils.toScalaMap({})
    log = delta.DeltaLog.forTable(session, path)
    transaction = log.startTransaction()
    write = delta.commands.WriteIntoDelta(log, mode, options, partitions, no_settings, rows._jdf, none, none)
    actions = write.write(transaction, session, none, False)
    check(_written(spark, path, table, actions))
    by, replaced = jvm.scala.Option.apply(partitions), options.replaceWhere()
    operation = getattr(delta, "DeltaOperations$Write")(mode, by, replaced, none)
    transaction.commitIfNeeded(actions, operation, no_settings)


def _written(spark: SparkSession, path: str, table: Table, actions: Any) -> DataFrame:
    """The rows of the files that `actions` add."""
    listed: Any = spark._jvm.scala.jdk.javaapi.CollectionConverters.asJava(actions)  # type: ignore[union-attr]
    added = [unquote(action.path()) for action in listed if action.getClass().getSimpleName() == "AddFile"]
    if not added:
        return empty_frame(spark, table.schema)
    reader = spark.read.schema(table.schema).option("basePath", path)
    return reader.parquet(*(f"{path}/{file}" for file in added)).select(table.columns)
