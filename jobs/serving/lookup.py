"""Looks up users in the published candidates without Spark, reading one row group of one file per user.

The table's log has the range of user_id in each file, and a file's footer has the range in each of its row groups
(`jobs.serving.candidate_files`). Both are read once; a look-up then reads only the row groups of its users.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyspark.sql.pandas.types import to_arrow_schema

from jobs.lake import tables
from jobs.lake.files import NoSuchLake, has_tables
from jobs.lake.lake import NoSuchDay
from jobs.lake.snapshots import file_url, in_type, is_local, open_delta_table
from model.data.file_systems import open_file

COLUMNS = ["user_id", "candidates", "model_version"]
SCHEMA: pa.Schema = to_arrow_schema(tables.CANDIDATES.pick(*COLUMNS))
LOWEST, HIGHEST = "", "\U0010ffff"  # sort before and after every id


def read_candidates(lake: str, user_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """The published lists of `user_ids`, or of all users, one row per item, without Spark.

    Columns: user_id, item_id, score, rank, source, channel_score, model_version. In lists of older versions,
    channel_score is null, and score is what channel_score is now. Raises what `PublishedCandidates.current` raises, and
    TypeError unless `user_ids` is a collection of str. For repeated look-ups open `PublishedCandidates.current(lake)`
    once.
    """
    published = PublishedCandidates.current(lake)
    return published.all_lists() if user_ids is None else published.lists_for(user_ids)


@dataclass(frozen=True)
class SortedFile:
    """A Parquet file of rows sorted by user_id, with the lowest and highest id in it."""

    uri: str
    first: str
    last: str

    @cached_property
    def opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(open_file(self.uri))

    @cached_property
    def id_ranges(self) -> list[tuple[str, str]]:
        """Lowest and highest id of each row group."""
        footer = self.opened.metadata
        stats = [footer.row_group(number).column(0).statistics for number in range(footer.num_row_groups)]
        return [(s.min, s.max) if s is not None and s.has_min_max else (LOWEST, HIGHEST) for s in stats]


class PublishedCandidates:
    """The lists of one publication. They do not change with later publications; `refreshed` returns the newest."""

    def __init__(self, lake: str, publications: DeltaTable) -> None:
        """publications: the table publications, at the version to follow. Raises NoSuchDay if it has no row."""
        self.lake, self.publications, self.log_version = lake, publications, publications.version()
        self.publication: dict[str, Any] = _last_row(lake, publications)
        self.ds: dt.date = self.publication["ds"]
        root = f"{lake.rstrip('/')}/{tables.CANDIDATES.name}"
        pinned = open_delta_table(root, int(self.publication["candidates_version"]))
        actions = pl.DataFrame(pinned.get_add_actions(flatten=True)).filter(pl.col("partition.ds") == self.ds)
        ranges = actions.select("path", first=pl.col("min.user_id"), last=pl.col("max.user_id")).sort("first")
        self.files = [
            _sorted_file(root, path, first or LOWEST, last or HIGHEST) for path, first, last in ranges.iter_rows()
        ]

    @classmethod
    def current(cls, lake: str) -> PublishedCandidates:
        """The newest publication of a lake.

        Raises NoSuchDay before the first one, NoSuchLake if the folder is none, and ValueError if delta-rs cannot open
        the path.
        """
        try:
            publications = open_delta_table(f"{lake.rstrip('/')}/{tables.PUBLICATIONS.name}")
        except TableNotFoundError:  # its message says less than these
            if is_local(lake) and not has_tables(lake):
                raise NoSuchLake(lake) from None
            raise NoSuchDay(f"nothing is published in {lake}") from None
        return cls(lake, publications)

    def refreshed(self) -> PublishedCandidates:
        """The newest publication; this object if that has not changed. Cheap: reads only the log of publications."""
        self.publications.update_incremental()
        is_newest = self.publications.version() == self.log_version
        return self if is_newest else PublishedCandidates(self.lake, self.publications)

    def lists_for(self, user_ids: Iterable[str]) -> pd.DataFrame:
        """Rows (user_id, item_id, score, rank, source, channel_score, model_version), one per item.

        A user who is unknown, or whose list is empty because every item is excluded for this user, has no row. Raises
        TypeError unless `user_ids` is a collection of str.
        """
        ids = _checked_ids(user_ids)
        wanted, parts = pa.array(ids, pa.string()), [SCHEMA.empty_table()]
        for file, groups in self.row_groups(ids):
            rows = _in_schema(file.opened.read_row_groups(groups, columns=COLUMNS))
            parts.append(rows.filter(pc.is_in(rows["user_id"], value_set=wanted)))
        return _one_row_per_item(pa.concat_tables(parts))

    def all_lists(self) -> pd.DataFrame:
        """The same rows for all users."""
        parts = (_in_schema(file.opened.read(columns=COLUMNS)) for file in self.files)
        return _one_row_per_item(pa.concat_tables([SCHEMA.empty_table(), *parts]))

    def row_groups(self, user_ids: Iterable[str]) -> Iterator[tuple[SortedFile, list[int]]]:
        """What a look-up of these users reads: files, each with the numbers of its row groups."""
        ids = sorted(set(_checked_ids(user_ids)))
        for file in self.files:
            if _any_in_range(ids, file.first, file.last):
                groups = [number for number, ends in enumerate(file.id_ranges) if _any_in_range(ids, *ends)]
                if groups:
                    yield file, groups


def _checked_ids(user_ids: Iterable[str]) -> list[str]:
    """The ids as a list. Raises TypeError for anything but a collection of str: the text "12" is not "1" and "2"."""
    if isinstance(user_ids, (str, bytes)) or not isinstance(user_ids, Iterable):
        raise TypeError(f"user_ids must be a collection of user ids, such as {[str(user_ids)]}, got {user_ids!r}")
    ids = list(user_ids)
    if wrong := [user_id for user_id in ids if not isinstance(user_id, str)]:
        raise TypeError(f"user_ids must be user ids of type str, got {wrong[0]!r} of type {type(wrong[0]).__name__}")
    return ids


def _last_row(lake: str, publications: DeltaTable) -> dict[str, Any]:
    """The newest row of publications. Each row is a partition with its own file, so only one small file is read."""
    files = pl.DataFrame(publications.get_add_actions(flatten=True))
    if files.is_empty():
        raise NoSuchDay(f"nothing is published in {lake}")
    newest = files.sort("partition.publication").row(-1, named=True)
    root = f"{lake.rstrip('/')}/{tables.PUBLICATIONS.name}"
    row = _sorted_file(root, newest["path"]).opened.read()
    return {**row.to_pylist()[0], "publication": newest["partition.publication"]}


def _sorted_file(root: str, path: str, first: str = LOWEST, last: str = HIGHEST) -> SortedFile:
    """A file listed in the log of the table at `root`. The path of `root` is not escaped; the URI of the file is."""
    return SortedFile(file_url(root, path), first, last)


def _in_schema(read: pa.Table) -> pa.Table:
    """Rows of a file with the fields of SCHEMA; those that files of older versions lack are null."""
    return pa.table([in_type(read[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _any_in_range(ids: Sequence[str], first: str, last: str) -> bool:
    """Whether one of the ascending ids is in [first, last]."""
    position = bisect_right(ids, last)
    return position > 0 and ids[position - 1] >= first


def _one_row_per_item(rows: pa.Table) -> pd.DataFrame:
    """One row per item of each list, ordered by user and rank."""
    rows = rows.sort_by("user_id").combine_chunks()
    candidates = rows["candidates"].combine_chunks()
    row_of_item = pc.list_parent_indices(candidates)
    items = candidates.flatten()
    columns = {"user_id": rows["user_id"].take(row_of_item)}
    columns |= {field.name: items.field(number) for number, field in enumerate(items.type)}
    columns["model_version"] = rows["model_version"].take(row_of_item)
    return pa.table(columns).to_pandas()
