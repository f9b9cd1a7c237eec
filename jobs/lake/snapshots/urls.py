"""Paths and URLs of tables and their files, for readers other than Spark: pyarrow, delta-rs, Polars."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LOCAL_SCHEMES = ("", "file")
DECODED_BY_DELTA_RS = re.compile(r"%[0-9A-Fa-f]{2}|\\")  # in a path: it would open another folder
PATH_CHARACTERS = "/:@!$&'()*+,;=~"  # need not be escaped in the path of a URL


def is_local(uri: str) -> bool:
    """Whether a path or URI is on a local or mounted disk."""
    return urlsplit(uri).scheme in LOCAL_SCHEMES


def can_read_without_spark(uri: str) -> bool:
    """Whether files at a path or URI are read without Spark. Only Spark's configuration has the access to stores."""
    return is_local(uri)


def can_open_by_delta_rs(uri: str) -> bool:
    """Whether delta-rs opens the table at exactly this path or URI, without Spark."""
    return can_read_without_spark(uri) and not is_decoded_by_delta_rs(uri)


def is_decoded_by_delta_rs(uri: str) -> bool:
    """Whether delta-rs would open another folder than the one at this path or URI."""
    return DECODED_BY_DELTA_RS.search(uri) is not None


def local_path(uri: str) -> Path | None:
    """The path of an unescaped URI on a local or mounted disk, which need not exist; None for any other store."""
    if not is_local(uri):
        return None
    return Path(urlsplit(uri).path if urlsplit(uri).scheme else uri).absolute()


def url_of(uri: str) -> str:
    """The escaped URL of a path or URI; Hadoop's URIs are not escaped."""
    if (path := local_path(uri)) is not None:
        return f"file://{quote(str(path), PATH_CHARACTERS)}"
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, PATH_CHARACTERS)}"


def file_url(table: str, path: str) -> str:
    """The escaped URL of a file of the table at the path or URI `table`. path: as in the table's log."""
    return path if urlsplit(path).scheme else f"{url_of(table)}/{quote(unquote(path), PATH_CHARACTERS)}"
