"""From the files of one pinned table version to batches of tensors. Petastorm lives only here.

Axis letters: B rows of a batch, I indices of the item vocabulary.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import fs
from torch import Tensor

from model.features import FeatureSpec, tensors

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
    pinned: PinnedFiles,
    features: Sequence[FeatureSpec],
    *,
    batch_size: int,
    seed: int,
    readers: int = 1,
    shuffle_row_groups: int = 8,
) -> Iterator[dict[str, Tensor]]:
    """Every row once, as tensors by feature name; batches of `batch_size`, the last smaller or one row larger.

    Row groups come in a seeded order; `shuffle_row_groups` of them at a time are mixed row by row. One reader thread
    gives the same order on every run. Raises RowCountMismatch at the end of an epoch that lost or doubled rows.
    """
    order = np.random.default_rng(seed)
    rows = 0
    blocks = _blocks(_row_groups(pinned, features, seed, readers), shuffle_row_groups, batch_size, order)
    for batch in _batches(blocks, batch_size):
        rows += _length(batch)
        yield batch
    if rows != pinned.rows:
        raise RowCountMismatch(f"an epoch read {rows} rows, the pinned version holds {pinned.rows}")


def _batches(blocks: Iterator[dict[str, Tensor]], batch_size: int) -> Iterator[dict[str, Tensor]]:
    """A single last row joins the batch before it, be it another block's: alone it would have no negatives."""
    held: dict[str, Tensor] | None = None  # until it is known whether a single row follows
    for block in blocks:
        for start in range(0, _length(block), batch_size):
            batch = {name: values[start : start + batch_size] for name, values in block.items()}
            if held is not None and _length(batch) == 1 < batch_size:
                batch = {name: torch.cat([held[name], values]) for name, values in batch.items()}
            elif held is not None:
                yield held
            held = batch
    if held is not None:
        yield held


def _length(rows: dict[str, Tensor]) -> int:
    return len(next(iter(rows.values())))


def _row_groups(
    pinned: PinnedFiles, features: Sequence[FeatureSpec], seed: int, readers: int
) -> Iterator[dict[str, Tensor]]:
    from petastorm import make_batch_reader  # slow to import, and not wanted in a Spark driver

    warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")  # it reads through pyarrow's old API
    fields = sorted({f"^{re.escape(feature.column)}$" for feature in features})  # it wants regular expressions
    reader = make_batch_reader(
        [unquote(file) for file in pinned.files],  # it takes the path of a URL literally
        schema_fields=fields,
        workers_count=readers,
        shuffle_row_groups=True,
        seed=seed,
        num_epochs=1,
    )
    reader._results_queue_reader = _ArrowTables()
    with reader:
        for group in reader:
            yield tensors(group, features)


class _ArrowTables:
    """Petastorm's row groups as they were read; its own step to numpy is slow with lists and fails on a null one."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> pa.Table:
        from petastorm.workers_pool import EmptyResultError

        try:
            return pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


def _blocks(
    groups: Iterator[dict[str, Tensor]], size: int, batch_size: int, order: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    """`size` row groups at a time, permuted; what does not fill a batch waits for the next block."""
    waiting: list[dict[str, Tensor]] = []
    count = 0
    for group in groups:
        waiting.append(group)
        count += 1
        if count == size:
            block = _mixed(waiting, order)
            rows = _length(block)
            whole = rows // batch_size * batch_size
            if whole:
                yield {name: values[:whole] for name, values in block.items()}
            waiting = [{name: values[whole:] for name, values in block.items()}] if whole < rows else []
            count = 0
    if waiting:
        yield _mixed(waiting, order)


def _mixed(groups: list[dict[str, Tensor]], order: np.random.Generator) -> dict[str, Tensor]:
    whole = {name: torch.cat([group[name] for group in groups]) for name in groups[0]}
    permutation = torch.from_numpy(order.permutation(_length(whole)))
    return {name: values[permutation] for name, values in whole.items()}


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
    file = _open(url)
    if lacking := set(names or ()).difference(file.schema_arrow.names):
        raise ValueError(f"{url} lacks the columns {sorted(lacking)}")
    return file.read(columns=names)


def _open(url: str) -> pq.ParquetFile:
    filesystem, path = fs.FileSystem.from_uri(url)
    return pq.ParquetFile(filesystem.open_input_file(path))


def _require_rows(rows: int, pinned: PinnedFiles) -> None:
    if rows != pinned.rows:
        raise RowCountMismatch(f"the files hold {rows} rows, the pinned version {pinned.rows}")
