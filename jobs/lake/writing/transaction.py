"""The steps of a write by Delta: it begins, writes files or takes those that exist, and commits.

Delta's `save` does all of it in one call. Its command and its transaction are called here one by one, and nowhere else:
they are not part of Delta's public interface, and the tests fail with a version that has changed them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from jobs.lake.tables import Table
from jobs.workers.files import WrittenFile

ADDED = "AddFile"


class Transaction:
    """A transaction on a table, of which the newest version, if there is one, is read when it begins.

    It adds rows. With `replaced`, an SQL predicate, it also removes all stored rows that fulfil it, and its commit
    fails if another writer changes these after it has begun.
    """

    def __init__(self, spark: SparkSession, path: str, table: Table, replaced: str | None = None) -> None:
        self.spark, self.table = spark, table
        self._jvm = cast("Any", spark._jvm)
        self._delta = self._jvm.org.apache.spark.sql.delta
        self._session = spark._jsparkSession
        modes = self._jvm.org.apache.spark.sql.SaveMode
        self._mode = modes.Append if replaced is None else modes.Overwrite
        settings = {} if replaced is None else {"replaceWhere": replaced}
        settings |= {"mergeSchema": "true"} if table.added else {}  # a stored table may lack these columns
        self._options = self._delta.DeltaOptions(self._map(settings), self._session.sessionState().conf())
        self._log = self._delta.DeltaLog.forTable(self._session, path)
        self._transaction = self._log.startTransaction()
        self._actions: list[Any] = []

    def bind_to(self, version: int | None) -> bool:
        """Make the commit depend on all files; returns whether the newest version is `version` (None: has no rows).

        Delta then finds a conflict with each commit in between. It finds none between commits that only add files and
        depend on no others.
        """
        files = self._transaction.filterFiles()
        return bool(files.isEmpty()) if version is None else int(self._transaction.snapshot().version()) == version

    @property
    def writer_version(self) -> int:
        """The writer version of the table's protocol, after the commit."""
        return int(self._transaction.protocol().minWriterVersion())

    @property
    def added(self) -> list[str]:
        """The paths of the files that the commit adds, relative to the table's folder."""
        return [unquote(one.path()) for one in self._actions if one.getClass().getSimpleName() == ADDED]

    def write(self, rows: DataFrame) -> None:
        """Write the files of `rows`, and find those that they replace. Called once, also if `rows` has no row."""
        none, no_settings = self._jvm.scala.Option.empty(), self._map({})
        command = self._delta.commands.WriteIntoDelta(
            self._log, self._mode, self._options, self._partitions, no_settings, rows._jdf, none, none
        )
        actions = command.write(self._transaction, self._session, none, False)
        self._actions.extend(self._jvm.scala.jdk.javaapi.CollectionConverters.asJava(actions))

    def take(self, files: Sequence[WrittenFile], value: str) -> None:
        """Add files of a partition that exist; called after `write` of no rows. value: of the partition column."""
        read = getattr(getattr(self._delta.actions, "Action$"), "MODULE$").fromJson
        self._actions += [read(json.dumps(_add(file, {self.table.partition: value}))) for file in files]
        # Delta has counted those that it wrote itself; a commit that is cut short is found by these numbers
        counts = {
            "numFiles": len(files),
            "numOutputRows": sum(file.rows for file in files),
            "numOutputBytes": sum(file.bytes for file in files),
        }
        metrics, context = self._jvm.org.apache.spark.sql.execution.metric.SQLMetrics, self.spark._jsc.sc()
        made = {name: metrics.createMetric(context, name) for name in counts}
        for name, metric in made.items():
            metric.set(counts[name])
        self._transaction.registerSQLMetrics(self._session, self._map(made))

    def commit(self) -> None:
        """Commit all files that were written or taken, and remove those that they replace."""
        none, by = self._jvm.scala.Option.empty(), self._jvm.scala.Option.apply(self._partitions)
        operation = getattr(self._delta, "DeltaOperations$Write")(self._mode, by, self._options.replaceWhere(), none)
        self._transaction.commitIfNeeded(self._jvm.PythonUtils.toSeq(self._actions), operation, self._map({}))

    @property
    def _partitions(self) -> Any:
        return self._jvm.PythonUtils.toSeq([self.table.partition])

    def _map(self, values: Mapping[str, Any]) -> Any:
        return self._jvm.PythonUtils.toScalaMap(dict(values))


def _add(file: WrittenFile, partition: Mapping[str, str]) -> dict[str, Any]:
    """The action that adds a file, as Delta's protocol has it."""
    values = {"path": file.path, "partitionValues": partition, "size": file.bytes, "stats": file.statistics}
    return {"add": {**values, "modificationTime": file.modified, "dataChange": True}}
