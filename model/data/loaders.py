"""From the files of one pinned table version to batches of tensors. Petastorm lives only here.

Axis letters: B rows of a batch, I indices of the item vocabulary.
"""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from model.data.file_systems import for_petastorm, opened
from model.data.shards import Shard
from model.feature_tensors import arrays, tensor, tensors
from model.features import FeatureSpec

Arrays = dict[str, np.ndarray]  # rows by feature name
ITEM_INDEX = FeatureSpec("item_index", "id", 1, 1, "item_index", "item_id")


class RowCountMismatch(RuntimeError):
    """An epoch did not read exactly the rows of the pinned version: the model must not be kept."""


@dataclass(frozen=True)
class PinnedFiles:
    """The Parquet files of one version of a table, and how many rows they hold together."""

    files: tuple[str, ...]  # URLs
    rows: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PinnedFiles:
        return cls(tuple(values["files"]), int(values["rows"]))


def epoch_batches(
    shard: Shard,
    features: Sequence[FeatureSpec],
    *,
    seed: int,
    readers: int = 1,
    shuffle_row_groups: int = 8,
) -> Iterator[dict[str, Tensor]]:
    """Every row of the shard once, as tensors by feature name, in its steps.

    Row groups come in a seeded order; `shuffle_row_groups` of them at a time are mixed row by row. The same seed and
    number of readers give the same order on every run. Raises RowCountMismatch at the end of an epoch that lost or
    doubled rows.
    """
    groups = _of_rank(_row_groups(shard.files, features, seed, readers), shard)
    steps, read, block = deque(shard.steps), 0, _Block(np.random.default_rng(seed))
    while waiting := list(islice(groups, shuffle_row_groups)):
        read += sum(map(_length, waiting))
        block.fill(waiting)
        while steps and steps[0] <= block.rows:
            yield block.take(steps.popleft())
    if steps or read != shard.rows:
        raise RowCountMismatch(f"an epoch read {read} rows, the pinned version holds {shard.rows}")


class _Block:
    """Rows of some row groups, handed out in a random order; its memory is used again, as fresh pages cost more."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random, self.rows = random, 0  # that are still to be handed out
        self.held: dict[str, np.ndarray] = {}
        self.order = np.empty(0, dtype=np.int64)

    def fill(self, groups: list[Arrays]) -> None:
        """Take in row groups, to be mixed with the rows that are left."""
        parts = [self._taken(self.rows), *groups] if self.rows else groups
        self.rows = sum(map(_length, parts))
        for name, like in parts[0].items():
            if name not in self.held or len(self.held[name]) < self.rows:
                self.held[name] = np.empty((self.rows, *like.shape[1:]), dtype=like.dtype)
            np.concatenate([part[name] for part in parts], out=self.held[name][: self.rows])
        self.order = self.random.permutation(self.rows)

    def take(self, rows: int) -> dict[str, Tensor]:
        """So many of the rows, indices as int64."""
        return {name: tensor(values) for name, values in self._taken(rows).items()}

    def _taken(self, rows: int) -> Arrays:
        chosen = self.order[len(self.order) - self.rows :][:rows]
        self.rows -= rows
        return {name: values.take(chosen, axis=0) for name, values in self.held.items()}


def _length(rows: Arrays) -> int:
    return len(next(iter(rows.values())))


def _row_groups(files: Sequence[str], features: Sequence[FeatureSpec], seed: int, readers: int) -> Iterator[Arrays]:
    """In turn from each of `readers` readers, which have a thread and files of their own: one order on every run."""
    from petastorm import make_batch_reader  # slow to import, and not wanted in a Spark driver

    warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")  # it reads through pyarrow's old API
    fields = sorted({f"^{re.escape(feature.column)}$" for feature in features})  # it wants regular expressions
    with ExitStack() as stack:
        turns: deque[Iterator[pa.Table]] = deque()
        for number in range(min(readers, len(files))):
            urls, filesystem = for_petastorm(files[number::readers])
            reader = make_batch_reader(
                urls,
                filesystem=filesystem,
                schema_fields=fields,
                workers_count=1,
                shuffle_row_groups=True,
                seed=seed,
                num_epochs=1,
            )
            reader._results_queue_reader = _ArrowTables()
            turns.append(iter(stack.enter_context(reader)))
        while turns:
            group = next(turns[0], None)
            if group is None:
                turns.popleft()
            else:
                yield arrays(group, features)
                turns.rotate(-1)


def _of_rank(groups: Iterator[Arrays], shard: Shard) -> Iterator[Arrays]:
    seen = 0
    for group in groups:
        yield {name: values[(shard.first - seen) % shard.every :: shard.every] for name, values in group.items()}
        seen += _length(group)


class _ArrowTables:
    """Petastorm's row groups as they were read; its own step to numpy is slow with lists and fails on a null one."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> pa.Table:
        from petastorm.workers_pool import EmptyResultError

        try:
            return pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


def item_table(pinned: PinnedFiles, features: Sequence[FeatureSpec], size: int) -> dict[str, Tensor]:
    """Each item feature by item_index: [I] or [I, L]; indices without a row are unknown (0 or NaN), their id apart.

    Raises RowCountMismatch where the files do not hold the pinned rows, ValueError where an index is not below
    `size` or stands in two rows.
    """
    table: dict[str, Tensor] = {}
    for feature in features:
        shape = (size, feature.length) if feature.is_list else (size,)
        missing = torch.full(shape, torch.nan) if feature.holds_numbers else torch.zeros(shape, dtype=torch.int64)
        table[feature.name] = missing
    for index, rows in _rows_by_index(pinned, [feature.column for feature in features], size):
        for name, values in tensors(rows, features).items():
            table[name][index] = values
    return table


def item_column(pinned: PinnedFiles, column: str, size: int) -> Tensor:
    """A column of numbers by item_index: float64 [I], 0 where there is no row; raises what `item_table` does."""
    table = torch.zeros(size, dtype=torch.float64)  # [I]
    for index, rows in _rows_by_index(pinned, [column], size):
        table[index] = torch.from_numpy(rows[column].to_numpy().astype(np.float64))
    return table


def _rows_by_index(pinned: PinnedFiles, names: Sequence[str], size: int) -> Iterator[tuple[Tensor, pa.Table]]:
    """Each file's item indices [B] and the named columns of its rows."""
    times = torch.zeros(size, dtype=torch.int64)  # [I]
    for file in pinned.files:
        rows = _read(file, sorted({ITEM_INDEX.column, *names}))
        index = tensors(rows, [ITEM_INDEX])[ITEM_INDEX.name]  # [B]
        if len(index) and int(index.max()) >= size:
            raise ValueError(f"item indices must lie below {size}, got {int(index.max())} in {file}")
        times += torch.bincount(index, minlength=size)
        yield index, rows
    _require_rows(int(times.sum()), pinned)
    if bool((times > 1).any()):
        raise ValueError(f"an item has one row, got {int(times.max())} of item index {int(times.argmax())}")


def read_files(files: Sequence[str]) -> pa.Table:
    """Parquet files by URL as one table."""
    return pa.concat_tables([_read(file, None) for file in files])


def _read(url: str, names: list[str] | None) -> pa.Table:
    file = pq.ParquetFile(opened(url))
    if lacking := set(names or ()).difference(file.schema_arrow.names):
        raise ValueError(f"{url} lacks the columns {sorted(lacking)}")
    return file.read(columns=names)


def _require_rows(rows: int, pinned: PinnedFiles) -> None:
    if rows != pinned.rows:
        raise RowCountMismatch(f"the files hold {rows} rows, the pinned version {pinned.rows}")
