"""Folders of files (models, indexes) between a local disk and the lake, on any file system that Spark reaches."""

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


def put_folder(spark: SparkSession, folder: Path, uri: str) -> None:
    """Copy a local folder to `uri` under a draft's name and rename it: what is there is whole, the old or the new one.

    Killed between the two, it is not there. Drafts of those who were killed go once they are a day old.
    Raises DiskFull.
    """
    filesystem, path = hadoop(spark, uri)
    for status in filesystem.globStatus(path.suffix(".*.draft")) or ():
        if time.time() - status.getModificationTime() / 1_000 > DRAFT_MAX_AGE_SECONDS:
            filesystem.delete(status.getPath(), True)
    draft = path.suffix(f".{uuid.uuid4().hex}.draft")  # two who put the same folder have one each
    try:
        with disk_full_errors(uri):
            filesystem.mkdirs(draft.getParent())
            filesystem.copyFromLocalFile(False, True, _path(spark, folder.resolve().as_uri()), draft)
        filesystem.delete(path, True)
        if not filesystem.rename(draft, path):
            raise OSError(f"could not rename {draft} to {path}")
        filesystem.delete(_path(spark, f"{path}/{draft.getName()}"), True)  # another's was there first, and is whole
    except Exception as error:
        if not jvm_is_gone(error):
            filesystem.delete(draft, True)
        raise


def is_folder(spark: SparkSession, uri: str) -> bool:
    filesystem, path = hadoop(spark, uri)
    return bool(filesystem.isDirectory(path))


def reference(spark: SparkSession, uri: str) -> str:
    """What a worker hands to `local_folder`. A folder on a local or shared disk is read in place; any other is shipped.

    Raises ValueError where there is no such folder.
    """
    filesystem, path = hadoop(spark, uri)
    if not filesystem.isDirectory(path):
        raise ValueError(f"there is no folder {uri}")
    if filesystem.getUri().getScheme() == "file":
        return str(path.toUri().getPath())
    spark.sparkContext.addFile(str(path.toString()), recursive=True)
    return f"shipped:{path.getName()}"


def read_text(spark: SparkSession, uri: str) -> str | None:
    """The text of a file; None where there is none."""
    filesystem, path = hadoop(spark, uri)
    if not filesystem.exists(path):
        return None
    stream = filesystem.open(path)
    try:
        return str(spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))  # type: ignore[union-attr]
    finally:
        stream.close()


def local_path(spark: SparkSession, uri: str) -> Path | None:
    """The folder of a URI, there or not, on a local or mounted disk; None on any other store."""
    filesystem, path = hadoop(spark, uri)
    return Path(str(path.toUri().getPath())) if filesystem.getUri().getScheme() == "file" else None


def local_folder(ref: str) -> Path:
    """The folder behind a reference, on the machine that asks."""
    return Path(SparkFiles.get(ref.removeprefix("shipped:")) if ref.startswith("shipped:") else ref)


def hadoop(spark: SparkSession, uri: str) -> tuple[Any, Any]:
    """The file system and the path behind a path or URI, as Hadoop's own objects."""
    path = _path(spark, uri if urlparse(uri).scheme else f"file://{Path(uri).resolve()}")  # Hadoop decodes no %20
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path


def qualified(spark: SparkSession, uri: str) -> str:
    """The one name of a path or URI as Spark takes it: whole, and on a local disk without links."""
    filesystem, path = hadoop(spark, uri)
    path = filesystem.makeQualified(path)
    name = path.toUri()
    return Path(str(name.getPath())).resolve().as_uri() if name.getScheme() == "file" else str(path.toString())


def matching(spark: SparkSession, pattern: str) -> list[Any]:
    """Hadoop's FileStatus of each path that a pattern (a path or URI with `*`) names."""
    filesystem, path = hadoop(spark, pattern)
    return list(filesystem.globStatus(path) or ())


def _path(spark: SparkSession, uri: str) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(uri)  # type: ignore[union-attr]
