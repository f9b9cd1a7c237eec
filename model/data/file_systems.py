"""Where a file's URL leads, for those who read Parquet without Spark: local disks and stores alike, through pyarrow.

Credentials, region and endpoint of an S3 store are those of the environment, under AWS's own names, as Spark and
delta-rs take them; Spark's configuration is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs
from pyarrow.filesystem import FileSystem as OldFileSystem

S3_SCHEMES = ("s3", "s3a", "s3n")  # one store under Hadoop's names and AWS's; pyarrow knows the first


class ForPetastorm(OldFileSystem):
    """A file system as Petastorm wants it, which reads through pyarrow's old API; it opens files and does no more."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """root: what stands before the path of a URL, as a bucket does."""
        self.filesystem, self.root = filesystem, root

    def open(self, path: str, mode: str = "rb") -> pa.NativeFile:
        return self.filesystem.open_input_file(f"{self.root}{path}")

    def isdir(self, path: str) -> bool:
        return False

    def isfile(self, path: str) -> bool:
        return self.filesystem.get_file_info(f"{self.root}{path}").type == fs.FileType.File


def located(url: str) -> tuple[fs.FileSystem, str]:
    """The file system behind a file's URL, and the path in it.

    Raises ValueError for a scheme that pyarrow does not know.
    """
    parts = urlsplit(url)
    if parts.scheme in S3_SCHEMES:
        return _s3(parts.netloc), unquote(f"{parts.netloc}{parts.path}")
    try:
        return fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"wants a file on a local disk or in a store that pyarrow reads, got {url}: {error}"
        ) from error


def opened(url: str) -> pa.NativeFile:
    """A file, to be read at any place. Raises FileNotFoundError where there is none."""
    filesystem, path = located(url)
    return filesystem.open_input_file(path)


def for_petastorm(urls: Sequence[str]) -> tuple[list[str], ForPetastorm | None]:
    """URLs of one store as Petastorm takes them, and the file system to read them through; None for a local disk.

    By a URL's scheme it would look for a client, and settings, of its own. Of URLs that come with a file system it
    takes the paths alone, and literally.
    """
    paths = [unquote(urlsplit(url).path) for url in urls]
    if urlsplit(urls[0]).scheme == "file":
        return [f"file://{path}" for path in paths], None
    filesystem, path = located(urls[0])
    return [f"file://{path}" for path in paths], ForPetastorm(filesystem, path.removesuffix(paths[0]))


@cache
def _s3(bucket: str) -> fs.S3FileSystem:
    """One a bucket and process: without a region in the environment the store is asked for it."""
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint.netloc:
        return fs.S3FileSystem(region=region, scheme=endpoint.scheme, endpoint_override=endpoint.netloc)
    return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket))
