"""Reads the pinned files of a table in shuffled batches of tensors. Only this file imports Petastorm."""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from model.data.file_systems import petastorm_urls
from model.data.pinned_files import RowCountMismatch
from model.data.shards import Shard
from model.features import FeatureSpec
from model.features.tensors import arrays, tensor

Arrays = dict[str, np.ndarray]  # rows by feature name


def epoch_batches(
    shard: Shard,
    features: Sequence[FeatureSpec],
    *,
    seed: int,
    readers: int = 1,
    shuffle_row_groups: int = 8,
) -> Iterator[dict[str, Tensor]]:
    """Yields one batch per step, tensors by feature name, with every row of the shard once.

    Row groups are read in a random order, and the rows of each `shuffle_row_groups` row groups are shuffled together.
    The same seed and number of readers give the same order on every run. Raises RowCountMismatch at the end of an epoch
    in which rows were lost or repeated.
    """
    groups = _rows_of_shard(_row_groups(shard.files, features, seed, readers), shard)
    steps, read, block = deque(shard.steps), 0, _Block(np.random.default_rng(seed))
    while chunk := list(islice(groups, shuffle_row_groups)):
        read += sum(map(_length, chunk))
        block.fill(chunk)
        while steps and steps[0] <= block.rows:
            yield block.take(steps.popleft())
    if steps or read != shard.rows:
        raise RowCountMismatch(f"an epoch read {read} rows, the pinned version holds {shard.rows}")


class _Block:
    """Rows of some row groups, taken in random order. Its buffers are reused, because fresh memory pages are slow."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random, self.rows = random, 0  # rows: how many have not been taken yet
        self.buffers: dict[str, np.ndarray] = {}
        self.order = np.empty(0, dtype=np.int64)

    def fill(self, groups: list[Arrays]) -> None:
        """Add row groups, and shuffle their rows together with the rows that have not been taken yet."""
        parts = [self._take(self.rows), *groups] if self.rows else groups
        self.rows = sum(map(_length, parts))
        for name, like in parts[0].items():
            if name not in self.buffers or len(self.buffers[name]) < self.rows:
                self.buffers[name] = np.empty((self.rows, *like.shape[1:]), dtype=like.dtype)
            np.concatenate([part[name] for part in parts], out=self.buffers[name][: self.rows])
        self.order = self.random.permutation(self.rows)

    def take(self, rows: int) -> dict[str, Tensor]:
        """The next rows as tensors, indices as int64."""
        return {name: tensor(values) for name, values in self._take(rows).items()}

    def _take(self, rows: int) -> Arrays:
        chosen = self.order[len(self.order) - self.rows :][:rows]
        self.rows -= rows
        return {name: values.take(chosen, axis=0) for name, values in self.buffers.items()}


def _length(rows: Arrays) -> int:
    return len(next(iter(rows.values())))


def _row_groups(files: Sequence[str], features: Sequence[FeatureSpec], seed: int, readers: int) -> Iterator[Arrays]:
    """Row groups from `readers` readers in turn. Each reader has its own thread and files, so the order is fixed."""
    from petastorm import make_batch_reader  # here: slow, and conflicts with pandas UDFs in a Spark driver

    warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")  # about pyarrow's legacy API
    fields = sorted({f"^{re.escape(feature.column)}$" for feature in features})  # Petastorm expects regular expressions
    with ExitStack() as stack:
        turns: deque[Iterator[pa.Table]] = deque()
        for number in range(min(readers, len(files))):
            urls, filesystem = petastorm_urls(files[number::readers])
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


def _rows_of_shard(groups: Iterator[Arrays], shard: Shard) -> Iterator[Arrays]:
    """Every `shard.every`-th row, counted through all groups."""
    seen = 0
    for group in groups:
        yield {name: values[(shard.first - seen) % shard.every :: shard.every] for name, values in group.items()}
        seen += _length(group)


class _ArrowTables:
    """Returns row groups as Arrow tables: Petastorm's conversion to numpy is slow for lists and fails on null lists."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> pa.Table:
        from petastorm.workers_pool import EmptyResultError

        try:
            return pool.get_results()
        except EmptyResultError:
            raise StopIteration from None
