"""URLs of tables and their files, for readers other than Spark: pyarrow, delta-rs, Polars."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LOCAL_SCHEMES = ("", "file")
PATH_CHARACTERS = "/:@!$&'()*+,;=~"  # that a URL need not escape in a path


def is_local(uri: str) -> bool:
    """Whether a path or URI is on a local or mounted disk."""
    return urlsplit(uri).scheme in LOCAL_SCHEMES


def can_read_without_spark(uri: str) -> bool:
    """Whether tables at a path or URI are read without Spark; of other stores, Spark's configuration has the access."""
    return is_local(uri)


def local_folder_of(uri: str) -> Path:
    """The folder of a local path or URI, which is not escaped."""
    return Path(urlsplit(uri).path if urlsplit(uri).scheme else uri).absolute()


def url_of(uri: str) -> str:
    """The escaped URL of a path or URI; Hadoop's URIs are not escaped."""
    if is_local(uri):
        return f"file://{quote(str(local_folder_of(uri)), PATH_CHARACTERS)}"
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, PATH_CHARACTERS)}"


def file_url(table: str, path: str) -> str:
    """The escaped URL of a file of the table at the path or URI `table`. path: as in the table's log."""
    return path if urlsplit(path).scheme else f"{url_of(table)}/{quote(unquote(path), PATH_CHARACTERS)}"
