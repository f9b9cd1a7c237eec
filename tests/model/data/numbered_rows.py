"""Parquet files whose rows are numbered, and how they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.pinned_files import PinnedFiles
from model.data.shards import Shard, shards
from model.features import FeatureSpec

HISTORY = FeatureSpec("history", "item_list", 4, 3, "history", "item_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
IMAGE = FeatureSpec("image", "vector", 2, 2, "image", None)
READ = (ITEM_INDEX, HISTORY, AGE)


def examples(first: int, rows: int) -> pa.Table:
    """Row n holds n in every column: item index n, history [n, n + 1, n + 2], age n / 2."""
    numbers = range(first, first + rows)
    return pa.table(
        {
            "user_id": [f"user {n}" for n in numbers],  # a column that is not read
            "item_index": pa.array(numbers, pa.int32()),
            "history": pa.array([[n, n + 1, n + 2] for n in numbers], pa.list_(pa.int32())),
            "age": pa.array([n / 2 for n in numbers], pa.float32()),
        }
    )


def write(folder: Path, tables: list[pa.Table], group: int) -> tuple[str, ...]:
    """Write each table as one file with row groups of `group` rows, laid out as by Delta; returns the URLs."""
    (folder / "ds=2026-03-01").mkdir(parents=True, exist_ok=True)
    paths = [folder / "ds=2026-03-01" / f"part-{number}.parquet" for number in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path, row_group_size=group)
    return tuple(path.as_uri() for path in paths)


def pinned(folder: Path, files: list[int], group: int) -> PinnedFiles:
    """Write files with so many rows each; rows are numbered across the files."""
    firsts = itertools.accumulate(files, initial=0)
    tables = [examples(first, rows) for first, rows in zip(firsts, files, strict=False)]
    return PinnedFiles(0, write(folder, tables, group), sum(files))


def whole(rows: PinnedFiles, batch_size: int = 8) -> Shard:
    """The shard of a single rank."""
    (shard,) = shards(rows.files, [rows.rows, *[0] * (len(rows.files) - 1)], batch_size)
    return shard


def batches(rows: PinnedFiles, batch_size: int = 8, **changes: Any) -> Iterator[dict[str, Tensor]]:
    return epoch_batches(whole(rows, batch_size), READ, **({"seed": 1} | changes))


def numbers(read: Iterator[dict[str, Tensor]]) -> list[int]:
    return torch.cat([batch["item_index"] for batch in read]).tolist()
