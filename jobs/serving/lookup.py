"""Looking users up in the published candidates, without Spark: one file and one row group a user, not the table.

Files hold ranges of user_id and row groups ranges of a file (see `jobs.score_users`): what the table's log and a file's
footer say of them is read once, and a look-up then reads the row groups in question.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from jobs.lake import tables
from jobs.lake.partitions import NoSuchDay
from model.data.file_systems import opened

READ = ["user_id", "candidates", "model_version"]
FIRST, LAST = "", "\U0010ffff"  # what lies before and after every id


@dataclass(frozen=True)
class SortedFile:
    """One Parquet file, and the ids that it may hold."""

    uri: str
    first: str
    last: str

    @cached_property
    def opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(opened(self.uri))

    @cached_property
    def groups(self) -> list[tuple[str, str]]:
        """First and last id of each row group."""
        footer = self.opened.metadata
        stats = [footer.row_group(number).column(0).statistics for number in range(footer.num_row_groups)]
        return [(s.min, s.max) if s is not None and s.has_min_max else (FIRST, LAST) for s in stats]


class PublishedCandidates:
    """The lists of one publication, whatever is published later: `newest` follows the pointer."""

    def __init__(self, lake: str, publications: DeltaTable) -> None:
        """publications: the table as it is read now. Raises NoSuchDay where it has no row."""
        self.lake, self.publications, self.seen = lake, publications, publications.version()
        self.publication: dict[str, Any] = _last_row(lake, publications)
        self.ds: dt.date = self.publication["ds"]
        root = f"{lake.rstrip('/')}/{tables.CANDIDATES.name}"
        pinned = DeltaTable(root, version=int(self.publication["candidates_version"]))
        actions = pl.DataFrame(pinned.get_add_actions(flatten=True)).filter(pl.col("partition.ds") == self.ds)
        listed = actions.select("path", first=pl.col("min.user_id"), last=pl.col("max.user_id")).sort("first")
        self.files = [_file(root, path, first or FIRST, last or LAST) for path, first, last in listed.iter_rows()]

    @classmethod
    def current(cls, lake: str) -> PublishedCandidates:
        """What the newest publication of a lake points to. Raises NoSuchDay before the first one."""
        try:
            publications = DeltaTable(f"{lake.rstrip('/')}/{tables.PUBLICATIONS.name}")
        except TableNotFoundError as error:
            raise NoSuchDay(f"nothing is published in {lake}") from error
        return cls(lake, publications)

    def newest(self) -> PublishedCandidates:
        """Itself until something else is published, then that: so long a look at the log of publications is all."""
        self.publications.update_incremental()
        return self if self.publications.version() == self.seen else PublishedCandidates(self.lake, self.publications)

    def of(self, user_ids: Sequence[str]) -> pd.DataFrame:
        """Rows (user_id, item_id, score, rank, source, model_version), a row an item; none for an unknown user."""
        wanted, parts = pa.array(user_ids, pa.string()), [self.schema.empty_table()]
        for file, groups in self.row_groups(user_ids):
            rows = file.opened.read_row_groups(groups, columns=READ)
            parts.append(rows.filter(pc.is_in(rows["user_id"], value_set=wanted)))
        return exploded(pa.concat_tables(parts))

    def row_groups(self, user_ids: Sequence[str]) -> Iterator[tuple[SortedFile, list[int]]]:
        """What a look-up of these users reads: files, each with the numbers of its row groups."""
        wanted = sorted(set(user_ids))
        for file in self.files:
            if _any_within(wanted, file.first, file.last):
                groups = [number for number, group in enumerate(file.groups) if _any_within(wanted, *group)]
                if groups:
                    yield file, groups

    def all(self) -> pd.DataFrame:
        """The same of all users."""
        return exploded(pa.concat_tables(file.opened.read(columns=READ) for file in self.files))

    @cached_property
    def schema(self) -> pa.Schema:
        footer = self.files[0].opened.schema_arrow
        return pa.schema([footer.field(name) for name in READ])


def _last_row(lake: str, publications: DeltaTable) -> dict[str, Any]:
    """The newest row of publications: each has a file of its own, and one is read."""
    held = pl.DataFrame(publications.get_add_actions(flatten=True))
    if held.is_empty():
        raise NoSuchDay(f"nothing is published in {lake}")
    newest = held.sort("partition.publication").row(-1, named=True)
    root = f"{lake.rstrip('/')}/{tables.PUBLICATIONS.name}"
    row = _file(root, newest["path"]).opened.read()
    return {**row.to_pylist()[0], "publication": newest["partition.publication"]}


def _file(root: str, path: str, first: str = FIRST, last: str = LAST) -> SortedFile:
    """A file that the log of the table `root` names: a path or URI of Hadoop's, which knows no escapes, as a URL."""
    parts = urlsplit(root)
    base = f"{parts.scheme}://{parts.netloc}{quote(parts.path)}" if parts.scheme else Path(root).resolve().as_uri()
    return SortedFile(f"{base}/{unquote(path)}", first, last)


def _any_within(ids: Sequence[str], first: str, last: str) -> bool:
    """Whether one of the ids, ascending, lies in a range, both ends included."""
    place = bisect_right(ids, last)
    return place > 0 and ids[place - 1] >= first


def exploded(rows: pa.Table) -> pd.DataFrame:
    """A row an item, in the order of user and rank."""
    rows = rows.sort_by("user_id").combine_chunks()
    candidates = rows["candidates"].combine_chunks()
    owners = pc.list_parent_indices(candidates)
    items = candidates.flatten()
    fields = {field.name: items.field(number) for number, field in enumerate(items.type)}
    whose = {name: rows[name].take(owners) for name in ("user_id", "model_version")}
    order = ["user_id", *fields, "model_version"]
    columns = {**whose, **fields}
    return pa.table({name: columns[name] for name in order}).to_pandas()
