"""Opens files by URL, on local disks and in object stores, for readers other than Spark.

Credentials, region and endpoint of an S3 store come from the AWS environment variables, which Spark and delta-rs also
use. Spark's configuration is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs
from pyarrow.filesystem import FileSystem as OldFileSystem

S3_SCHEMES = ("s3", "s3a", "s3n")  # names of the same store in Hadoop and AWS; pyarrow knows only s3


class PetastormFileSystem(OldFileSystem):
    """A file system in pyarrow's legacy API, which Petastorm needs. It can only open files."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """root: a prefix that is added to every path, such as a bucket."""
        self.filesystem, self.root = filesystem, root

    def open(self, path: str, mode: str = "rb") -> pa.NativeFile:
        return self.filesystem.open_input_file(f"{self.root}{path}")

    def isdir(self, path: str) -> bool:
        return False

    def isfile(self, path: str) -> bool:
        return self.filesystem.get_file_info(f"{self.root}{path}").type == fs.FileType.File


def resolve_url(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL, and the path in it. Raises ValueError for a scheme that pyarrow does not support."""
    parts = urlsplit(url)
    if parts.scheme in S3_SCHEMES:
        return _s3(parts.netloc), unquote(f"{parts.netloc}{parts.path}")
    try:
        return fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"a file must be on a local disk or in a store that pyarrow supports, got {url}: {error}"
        ) from error


def open_file(url: str) -> pa.NativeFile:
    """Open a file for random access. Raises FileNotFoundError."""
    filesystem, path = resolve_url(url)
    return filesystem.open_input_file(path)


def petastorm_urls(urls: Sequence[str]) -> tuple[list[str], PetastormFileSystem | None]:
    """The URLs (all of one store) in Petastorm's form, and the file system to pass with them; None for a local disk.

    Without a file system, Petastorm would create a client of an object store with its own settings. With one, it uses
    only the paths of the URLs, and does not unquote them.
    """
    paths = [unquote(urlsplit(url).path) for url in urls]
    if urlsplit(urls[0]).scheme == "file":
        return [f"file://{path}" for path in paths], None
    filesystem, path = resolve_url(urls[0])
    return [f"file://{path}" for path in paths], PetastormFileSystem(filesystem, path.removesuffix(paths[0]))


@cache
def _s3(bucket: str) -> fs.S3FileSystem:
    """The file system of S3. It is cached, because without a region in the environment a request must ask for it."""
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint.netloc:
        return fs.S3FileSystem(region=region, scheme=endpoint.scheme, endpoint_override=endpoint.netloc)
    return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket))
