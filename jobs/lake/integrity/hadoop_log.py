"""A Delta log on any file system that Hadoop supports: lists it, reads its files, moves damaged files away."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.lake.files import hadoop_path
from jobs.lake.integrity.delta_log import HINT, DeltaLog, UnreadableFile


@dataclass(frozen=True)
class HadoopLogStorage:
    """The files of one listing of a log."""

    spark: SparkSession
    table: str  # path or URI
    statuses: Any  # Hadoop's FileStatus objects
    positions: dict[str, int]  # of each file in the listing

    def size(self, name: str) -> int:
        return int(self.statuses[self.positions[name]].getLen())

    def identity(self, name: str) -> Hashable:
        return self.size(name), int(self.statuses[self.positions[name]].getModificationTime())

    def read(self, name: str, start: int = 0, *, verify_checksum: bool = True) -> bytes:
        filesystem, path = hadoop_path(self.spark, f"{self.table}/_delta_log/{name}")
        try:
            return _bytes(self.spark, filesystem if verify_checksum else _raw(filesystem), path, start)
        except Py4JJavaError as error:
            if "ChecksumException" in str(error.java_exception):
                raise UnreadableFile("does not match its checksum") from error
            raise


def read_log(spark: SparkSession, table: str) -> DeltaLog | None:
    """List the log of a table (a path or URI); None if there is no log."""
    filesystem, folder = hadoop_path(spark, f"{table}/_delta_log")
    try:
        hint = _read_hint(spark, table)  # read first, so that the listing has the checkpoint it names
        statuses = _raw(filesystem).listStatus(folder)
    except Py4JJavaError as error:
        if "FileNotFoundException" in str(error.java_exception):
            return None
        raise
    names = _names(spark, statuses)
    return DeltaLog(table, names, HadoopLogStorage(spark, table, statuses, names), hint)


def can_read_checkpoint(spark: SparkSession, table: str, name: str) -> bool:
    """Whether Spark can read all rows of a file of a checkpoint."""
    reader = spark.read.format("json" if name.endswith("json") else "parquet")
    try:
        reader.load(f"{table}/_delta_log/{name}").write.format("noop").mode("append").save()
    except Exception as error:
        if not isinstance(error, PySparkException) and "FAILED_READ_FILE" not in str(error):
            raise
        return False
    return True


def move_away(spark: SparkSession, table: str, names: Collection[str]) -> str:
    """Move files of the log into a new folder _damaged_log_N of the table; returns the folder's name."""
    filesystem, root = hadoop_path(spark, table)
    filesystem = _raw(filesystem)  # checksum files are moved by name, even if the file that they belong to is lost
    path = spark._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
    number = 1
    while filesystem.exists(path(root, f"_damaged_log_{number}")):
        number += 1
    folder = path(root, f"_damaged_log_{number}")
    filesystem.mkdirs(folder)
    for name in names:
        if not filesystem.rename(path(root, f"_delta_log/{name}"), path(folder, name)):
            raise OSError(f"could not move _delta_log/{name} of {table}; run the repair again")
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]  # it caches versions
    return str(folder.getName())


def _read_hint(spark: SparkSession, table: str) -> bytes | None:
    filesystem, path = hadoop_path(spark, f"{table}/_delta_log/{HINT}")
    try:
        return _bytes(spark, filesystem, path, 0) if filesystem.exists(path) else None
    except Py4JJavaError as error:
        if "ChecksumException" not in str(error.java_exception):
            raise
        return b""  # not readable


def _names(spark: SparkSession, statuses: Any) -> dict[str, int]:
    """The names of listed files and their positions, from one call of the JVM: one call per file would be slow."""
    jvm: Any = spark._jvm
    listed = spark.sparkContext._gateway.new_array(jvm.org.apache.hadoop.fs.FileStatus, len(statuses))  # type: ignore[union-attr]
    jvm.java.lang.System.arraycopy(statuses, 0, listed, 0, len(statuses))  # py4j rejects arrays of a store's own class
    paths = jvm.org.apache.hadoop.fs.FileUtil.stat2Paths(listed)
    lines = jvm.scala.Predef.genericWrapArray(paths).mkString("\n")
    return {line.rsplit("/", 1)[-1]: position for position, line in enumerate(lines.splitlines())}


def _raw(filesystem: Any) -> Any:
    """The file system; a local one shows its checksum files, which Hadoop hides.

    A checksum file that is left of a lost commit would make the next write fail.
    """
    return filesystem.getRawFileSystem() if filesystem.getUri().getScheme() == "file" else filesystem


def _bytes(spark: SparkSession, filesystem: Any, path: Any, start: int) -> bytes:
    stream = filesystem.open(path)
    try:
        stream.seek(start)
        return bytes(spark._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))  # type: ignore[union-attr]
    finally:
        stream.close()
