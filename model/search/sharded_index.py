"""An approximate index in shards: indexes of one backend, each over a range of the items, built one after the other.

The vectors of all items are one memory-mapped file. What a backend has beside them (trees, lists) is made, and while
the search budget is tuned searched, a shard at a time: so much memory is needed, and not what all items need. A folder
that is loaded for scoring has all its shards open.
"""

# Axes: N queries, I items, D dimensions, C candidates of a query.
from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from model.artifacts.formats import IndexCorrupt
from model.search.approximate_index import ApproximateIndex
from model.search.checks import sorted_items
from model.vocabulary import NO_ITEM

IN_SHARDS = " in shards"  # ends the name of the backend that is stored in index.json
SHARDS = "shards"  # their number, stored with the options of the backend


@dataclass(frozen=True)
class ShardFiles:
    """The shards of a backend as files in a folder, beside the vectors [I, D] and the indices [I] of all items."""

    kind: type[ApproximateIndex]
    folder: Path
    matrix: np.ndarray
    item_indices: np.ndarray
    model_version: str
    options: dict[str, Any]
    count: int

    def open(self, number: int) -> ApproximateIndex:
        """The shard with a number from 0 to count - 1."""
        start, stop = shard_edges(len(self.matrix), self.count)[number : number + 2]
        items = self.matrix[start:stop], self.item_indices[start:stop]
        return self.kind.from_files(self.folder / shard_name(number), *items, self.model_version, self.options)

    def names(self) -> list[str]:
        return shard_files(self.kind, self.count)


class ShardedIndex(ApproximateIndex):
    """Asks every shard for its candidates. All of them are then scored together, as those of one index are.

    The search budget is that of each shard. A subclass sets `kind`: see `in_shards`.
    """

    kind: ClassVar[type[ApproximateIndex]]

    def __init__(self, files: ShardFiles, open_shard: Callable[[int], ApproximateIndex]) -> None:
        """open_shard: `files.open`, or what returns a shard that is open already."""
        super().__init__(files.matrix, files.item_indices, files.model_version)
        self.files, self.open_shard = files, open_shard
        self.options = open_shard(0).options

    @property
    def max_search_budget(self) -> int:
        return max(self._opened(number).max_search_budget for number in range(self.files.count))

    def nearest(self, queries: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return self.nearest_of_groups(queries, counts, [np.arange(len(queries))])[0]

    def nearest_of_groups(
        self, queries: np.ndarray, counts: np.ndarray, groups: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """As in `ApproximateIndex`; a shard is opened once for all groups."""
        parts = [self._nearest_in(number, queries, counts, groups) for number in range(self.files.count)]
        return [np.concatenate(of_shards, axis=1) for of_shards in zip(*parts, strict=True)]

    def _nearest_in(
        self, number: int, queries: np.ndarray, counts: np.ndarray, groups: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Positions int64 [n, C] of candidates in one shard, for each group."""
        shard = self._opened(number).with_search_budget(self.search_budget)
        first = shard_edges(len(self), self.files.count)[number]
        found = (shard.nearest(queries[rows], np.minimum(counts[rows], len(shard))) for rows in groups)
        return [np.where(positions == NO_ITEM, NO_ITEM, positions + first) for positions in found]

    def _opened(self, number: int) -> ApproximateIndex:
        began = time.perf_counter()
        shard = self.open_shard(number)
        self.seconds_opening += time.perf_counter() - began
        return shard

    def stored_options(self) -> dict[str, Any]:
        return {**super().stored_options(), SHARDS: self.files.count}

    def file_writers(self) -> dict[str, Callable[[Path], object]]:
        return {name: partial(shutil.copyfile, self.files.folder / name) for name in self.files.names()}

    @classmethod
    def files_of(cls, manifest: Mapping[str, Any]) -> Iterable[str]:
        shards, items = manifest["options"].get(SHARDS), max(manifest["item_count"], 1)
        if type(shards) is not int or not 1 <= shards <= items:
            raise IndexCorrupt(f"{SHARDS} must be a whole number from 1 to {items}, got {shards!r}")
        return shard_files(cls.kind, shards)

    @classmethod
    def from_files(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, options: dict[str, Any]
    ) -> Self:
        own = {name: value for name, value in options.items() if name != SHARDS}
        files = ShardFiles(cls.kind, folder, matrix, item_indices, model_version, own, options[SHARDS])
        shards = [files.open(number) for number in range(files.count)]
        return cls(files, shards.__getitem__)


@cache
def in_shards(kind: type[ApproximateIndex]) -> type[ShardedIndex]:
    """The class of an index whose shards are of a backend."""
    fields = {"kind": kind, "backend": kind.backend + IN_SHARDS, "budget_option": kind.budget_option}
    return type(f"{kind.__name__}InShards", (ShardedIndex,), fields)


def build_in_shards(
    kind: type[ApproximateIndex],
    embeddings: np.ndarray,
    item_indices: np.ndarray,
    folder: Path,
    shard_items: int,
    *,
    model_version: str,
    **options: Any,
) -> ShardedIndex:
    """As `ItemIndex.build`, in shards of at most `shard_items` items.

    folder: where the files of the shards are written; the index reads them until it is saved, and opens one at a time.
    """
    matrix, item_indices = sorted_items(embeddings, item_indices)
    count, stored = max(1, -(-len(matrix) // shard_items)), dict[str, Any]()
    for number, (start, stop) in enumerate(pairwise(shard_edges(len(matrix), count))):
        items = matrix[start:stop], item_indices[start:stop]
        (folder / shard_name(number)).mkdir(parents=True)
        stored = _write(kind.build(*items, model_version=model_version, **options), folder / shard_name(number))
    files = ShardFiles(kind, folder, matrix, item_indices, model_version, stored, count)
    return in_shards(kind)(files, files.open)


def _write(shard: ApproximateIndex, folder: Path) -> dict[str, Any]:
    """Write the files that the shard has beside its vectors; returns its options."""
    for name, write in shard.file_writers().items():
        write(folder / name)
    return shard.stored_options()


def shard_edges(n_items: int, shards: int) -> list[int]:
    """The position of the first item of each shard, and I at the end: shards differ by at most one item."""
    return [number * n_items // shards for number in range(shards + 1)]


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def shard_files(kind: type[ApproximateIndex], shards: int) -> list[str]:
    return [f"{shard_name(number)}/{name}" for number in range(shards) for name in kind.extra_files]
