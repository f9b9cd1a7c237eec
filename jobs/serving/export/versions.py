"""What an export consists of: the lists of one publication, under a name that depends on their content alone."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import unquote

import polars as pl
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.files import NoSuchLake, has_tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.snapshots import Snapshot, read_files
from jobs.serving.publications import is_readable, last_publication, last_scored_at

NAME = re.compile(r"\d{4}-\d{2}-\d{2}-[a-z]+-[0-9a-f]{12}(\.\d+)?")  # of a version, in every target
LIST_COLUMNS = ("item_id", "score", "source", "channel_score")  # of an item; its rank is its position in the list


class ExportConflict(ValueError):
    """Another export has put a later publication into the target, or has removed what this one writes."""


@dataclass(frozen=True)
class Version:
    """The lists of a publication in one format.

    name: the same for every publication of the same lists, so that a rollback finds what was exported before; with a
    suffix such as `.2` where the target still removes an older one of that name. snapshot: the files of the lists.
    """

    name: str
    publication: int
    ds: dt.date
    model_version: str
    candidates_version: int
    users: int
    format: str
    snapshot: Snapshot = field(repr=False, compare=False)

    @property
    def rows(self) -> dict[str, int]:
        """The number of lists in each file, by the file's name, in the order of the files."""
        files = self.snapshot.files.sort("path").select("path", "rows").iter_rows()
        return {_name_of(path): rows for path, rows in files}

    @property
    def description(self) -> dict[str, str | int]:
        """What readers of the target are told."""
        return {
            "publication": self.publication,
            "ds": str(self.ds),
            "model_version": self.model_version,
            "candidates_version": self.candidates_version,
            "users": self.users,
            "format": self.format,
        }

    def named(self, name: str) -> Version:
        return replace(self, name=name)


def publication_to_export(lake: Lake, model_version: str | None = None) -> Row:
    """The publication that readers follow now, or the last one of a model.

    Raises NoSuchLake, NoSuchDay before the first publication, and ValueError if no publication is of the model, or
    files of the publication were removed.
    """
    if last_publication(lake) is None:
        if not has_tables(lake.uri, lambda: lake.spark):
            raise NoSuchLake(lake.uri)
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    current = last_publication(lake, lambda row: model_version in (None, row.model_version))
    if current is None:
        published = sorted({row.model_version for row in lake.rows(tables.PUBLICATIONS)})[-5:]
        raise ValueError(f"the model version must be a published one, such as {published}, got {model_version!r}")
    if not is_readable(lake, current):
        raise ValueError(
            f"publication {current.publication} of {current.ds} must have all of its files, got some that "
            "were removed: publish a later day, or roll back"
        )
    return current


def version_to_export(lake: Lake, format_: str) -> Version:
    """The lists that readers follow now. Raises what `publication_to_export` raises."""
    current = publication_to_export(lake)
    scored_at = last_scored_at(lake, current.ds, current.candidates_version)
    name = version_name(current.ds, format_, current.model_version, current.candidates_version, scored_at)
    return version_of(lake, current, format_, name)


def version_name(ds: dt.date, format_: str, *content: object) -> str:
    """The name of a version. content: what, besides the day, determines what it consists of."""
    identity = " ".join(map(str, (ds, *content)))
    return f"{ds}-{format_}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def version_of(lake: Lake, current: Row, format_: str, name: str) -> Version:
    """The version of a publication with this name."""
    lists = lake.days_of(tables.CANDIDATES, current.ds, 1, current.candidates_version)
    assert lists is not None, "a publication that can be read has lists"
    return Version(
        name=name,
        publication=current.publication,
        ds=current.ds,
        model_version=current.model_version,
        candidates_version=current.candidates_version,
        users=lists.rows,
        format=format_,
        snapshot=lists,
    )


def lists_of(name: str) -> str:
    """The name of a version without its suffix: the same for lists that were written again."""
    return name.partition(".")[0]


def lists_in_files(lake: Lake, version: Version, files: Mapping[str, int] | set[str] | list[str]) -> DataFrame:
    """Rows (file, user_id, candidates, model_version) of some files of a version, in the order of each file."""
    wanted = pl.col("path").map_elements(_name_of, return_dtype=pl.String).is_in(list(files))
    some = replace(version.snapshot, files=version.snapshot.files.filter(wanted))
    rows = read_files(lake.spark, some).where(F.col("ds") == F.lit(version.ds))
    file = F.col("_metadata.file_name").alias("file")
    return rows.select(file, "user_id", "candidates", "model_version").where(F.col("file").isin(list(files)))


def _name_of(path: str) -> str:
    """The name of a file of a table; path: as in the table's log, escaped."""
    return PurePosixPath(unquote(path)).name
