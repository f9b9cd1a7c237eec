"""Files and folders of the lake, on any file system that Spark can access; texts and the lake itself without Spark."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pyarrow import fs
from pyspark.sql import SparkSession

from jobs.lake.errors import disk_full_errors, jvm_is_gone
from jobs.lake.snapshots import can_read_without_spark, is_local, local_path, url_of
from jobs.workers.folders import SHIPPED
from model.artifacts.verified_folder import DRAFT_MAX_AGE_SECONDS
from model.data.file_systems import open_file, resolve_url


class NoSuchLake(ValueError):
    """A folder is not a lake: it does not exist, or has no table."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"there is no lake at {uri}: the folder does not exist or has no table")


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


def remove_folder(spark: SparkSession, uri: str) -> None:
    """Delete a folder and what is in it; nothing happens if there is none. On a local disk, what resists stays."""
    if (folder := local_path(uri)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    filesystem, path = hadoop_path(spark, uri)
    filesystem.delete(path, True)


def has_tables(uri: str, session: Callable[[], SparkSession] | None = None) -> bool:
    """Whether a folder has a Delta table. session: starts Spark, for stores that are not read without it."""
    if (folder := local_path(uri)) is not None:
        return any(folder.glob("*/_delta_log"))
    assert session is not None, "a store needs Spark"
    return bool(glob_statuses(session(), f"{uri.rstrip('/')}/*/_delta_log"))


def delta_paths(spark: SparkSession, uri: str) -> dict[str, str]:
    """The paths of all Delta tables of a lake by name; a table of a variant is named variants/NAME/TABLE."""
    paths = {}
    for pattern, depth in (("*", 1), ("variants/*/*", 3)):
        for status in glob_statuses(spark, f"{uri.rstrip('/')}/{pattern}/_delta_log"):
            path = str(status.getPath().getParent().toString())
            paths["/".join(path.split("/")[-depth:])] = path
    return paths


def is_folder(spark: SparkSession, uri: str) -> bool:
    filesystem, path = hadoop_path(spark, uri)
    return bool(filesystem.isDirectory(path))


def folder_reference(spark: SparkSession, uri: str) -> str:
    """A reference for `jobs.workers.folders.local_folder`; ships the folder unless it is on a local or shared disk.

    Raises ValueError if there is no such folder.
    """
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.isDirectory(path):
        raise ValueError(f"there is no folder {uri}")
    if filesystem.getUri().getScheme() == "file":
        return str(path.toUri().getPath())
    spark.sparkContext.addFile(str(path.toString()), recursive=True)
    return f"{SHIPPED}{path.getName()}"


def read_text(session: Callable[[], SparkSession], uri: str) -> str | None:
    """The text of a file; None if it does not exist. session: starts Spark; called only for stores that need it."""
    if can_read_without_spark(uri):
        try:
            with open_file(url_of(uri)) as file:
                return bytes(file.read()).decode("utf-8")
        except FileNotFoundError:
            return None
    spark = session()
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return None
    stream = filesystem.open(path)
    try:
        return str(spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))  # type: ignore[union-attr]
    finally:
        stream.close()


def put_text(spark: SparkSession, uri: str, text: str) -> None:
    """Replace a small file; an empty text removes it. Readers see the old or the new one, or none in between.

    Raises DiskFull.
    """
    filesystem, path = hadoop_path(spark, uri)
    if not text:
        filesystem.delete(path, False)
        return
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder, disk_full_errors(uri):
        file = Path(folder) / path.getName()
        file.write_text(text, "utf-8")
        filesystem.copyFromLocalFile(False, True, _path(spark, file.as_uri()), path)


def all_exist(session: Callable[[], SparkSession], urls: Sequence[str]) -> bool:
    """Whether all files exist, given by escaped URLs of one store. session: as in `read_text`."""
    if all(map(can_read_without_spark, urls)):
        by_store = [resolve_url(url) for url in urls]
        return all(store.get_file_info(path).type == fs.FileType.File for store, path in by_store)
    paths = (hadoop_path(session(), unquote(url)) for url in urls)
    return all(filesystem.exists(path) for filesystem, path in paths)


def hadoop_path(spark: SparkSession, uri: str) -> tuple[Any, Any]:
    """Hadoop's FileSystem and Path of a path or URI."""
    path = _path(spark, uri if urlparse(uri).scheme else f"file://{Path(uri).resolve()}")  # Hadoop does not decode %20
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path


def require_files(given: Mapping[str, str], spark: SparkSession | None = None) -> None:
    """Raises ValueError that names every given file or folder that does not exist.

    given: paths or URIs, which may have wildcards, by the argument or key that names them. Without a session, only
    those that are surely on a local disk are looked for.
    """
    missing = [f"{name} {uri}" for name, uri in given.items() if not _exists(uri, spark)]
    if missing:
        raise ValueError(f"there is no file or folder {', '.join(missing)}")


def _exists(uri: str, spark: SparkSession | None) -> bool:
    if spark is not None:  # as Spark reads it: a path without scheme is in Hadoop's default file system
        path = _path(spark, uri)
        return bool(path.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(path))
    may_be_remote = "PYSPARK_GATEWAY_PORT" in os.environ or "HADOOP_CONF_DIR" in os.environ
    is_known = is_local(uri) and not (may_be_remote and not urlparse(uri).scheme)
    is_hadoops = any(
        sign in uri for sign in "{\\"
    )  # alternatives {a,b} and escapes, which Python's patterns do not have
    return not is_known or is_hadoops or bool(glob(str(local_path(uri))))


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
