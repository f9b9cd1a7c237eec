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

from model.data.file_systems import for_petastorm
from model.data.pinned_files import RowCountMismatch
from model.data.shards import Shard
from model.feature_tensors import arrays, tensor
from model.features import FeatureSpec

Arrays = dict[str, np.ndarray]  # rows by feature name


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
