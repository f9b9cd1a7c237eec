"""Copies folders (models, indexes) between a local disk and the lake, on any file system that Spark can access."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from jobs.lake.errors import disk_full_errors, jvm_is_gone
from model.artifacts.verified_folder import DRAFT_MAX_AGE_SECONDS

SHIPPED = "shipped:"  # prefix of a reference to a folder that Spark copies to the workers


def put_folder(spark: SparkSession, folder: Path, uri: str) -> None:
    """Copy a local folder to `uri`. Readers see the complete old or new folder, and none for a moment in between.

    The copy is a draft until it is complete and renamed. Abandoned drafts of other writers are deleted after a day.
    Raises DiskFull.
    """
    filesystem, path = hadoop_path(spark, uri)
    for status in filesystem.globStatus(path.suffix(".*.draft")) or ():
        if time.time() - status.getModificationTime() / 1_000 > DRAFT_MAX_AGE_SECONDS:
            filesystem.delete(status.getPath(), True)
    draft = path.suffix(f".{uuid.uuid4().hex}.draft")  # one for each writer of the same folder
    try:
        with disk_full_errors(uri):
            filesystem.mkdirs(draft.getParent())
            filesystem.copyFromLocalFile(False, True, _path(spark, folder.resolve().as_uri()), draft)
        filesystem.delete(path, True)
        if not filesystem.rename(draft, path):
            raise OSError(f"could not rename {draft} to {path}")
        # if another writer's folder came first, Hadoop moves the draft into it
        filesystem.delete(_path(spark, f"{path}/{draft.getName()}"), True)
    except Exception as error:
        if not jvm_is_gone(error):
            filesystem.delete(draft, True)
        raise


def is_folder(spark: SparkSession, uri: str) -> bool:
    filesystem, path = hadoop_path(spark, uri)
    return bool(filesystem.isDirectory(path))


def folder_reference(spark: SparkSession, uri: str) -> str:
    """A reference that `local_folder` resolves on a worker; ships the folder unless it is on a local or shared disk.

    Raises ValueError if there is no such folder.
    """
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.isDirectory(path):
        raise ValueError(f"there is no folder {uri}")
    if filesystem.getUri().getScheme() == "file":
        return str(path.toUri().getPath())
    spark.sparkContext.addFile(str(path.toString()), recursive=True)
    return f"{SHIPPED}{path.getName()}"


def local_folder(reference: str) -> Path:
    """The folder of a reference, on the machine that calls this."""
    return Path(SparkFiles.get(reference.removeprefix(SHIPPED)) if reference.startswith(SHIPPED) else reference)


def local_path(spark: SparkSession, uri: str) -> Path | None:
    """The path of a URI on a local or mounted disk, which need not exist; None for any other store."""
    filesystem, path = hadoop_path(spark, uri)
    return Path(str(path.toUri().getPath())) if filesystem.getUri().getScheme() == "file" else None


def read_text(spark: SparkSession, uri: str) -> str | None:
    """The text of a file; None if it does not exist."""
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return None
    stream = filesystem.open(path)
    try:
        return str(spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))  # type: ignore[union-attr]
    finally:
        stream.close()


def hadoop_path(spark: SparkSession, uri: str) -> tuple[Any, Any]:
    """Hadoop's FileSystem and Path of a path or URI."""
    path = _path(spark, uri if urlparse(uri).scheme else f"file://{Path(uri).resolve()}")  # Hadoop does not decode %20
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path


def qualified_uri(spark: SparkSession, uri: str) -> str:
    """The absolute URI of a path or URI, as Spark resolves it; symbolic links on a local disk are followed."""
    filesystem, path = hadoop_path(spark, uri)
    path = filesystem.makeQualified(path)
    name = path.toUri()
    return Path(str(name.getPath())).resolve().as_uri() if name.getScheme() == "file" else str(path.toString())


def glob_statuses(spark: SparkSession, pattern: str) -> list[Any]:
    """Hadoop's FileStatus of each path that matches a pattern: a path or URI with `*`."""
    filesystem, path = hadoop_path(spark, pattern)
    return list(filesystem.globStatus(path) or ())


def _path(spark: SparkSession, uri: str) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(uri)  # type: ignore[union-attr]
