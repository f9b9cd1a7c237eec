"""The shuffling loader compared with pyarrow and the same block shuffle, and with Petastorm's shuffling queue.

    python -m benchmarks.training.loader

Rows have two indices, a number and a list of 20; each file has one row group. The loaders take turns, round after
round, each in its own process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.command_line import benchmark_parser, output_of, parse
from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.shards import shards
from model.features import FeatureSpec

LENGTH = 20
FEATURES = [
    ITEM_INDEX,
    FeatureSpec("user_id", "id", 8, 1, "user_index", "user_id"),
    FeatureSpec("age", "numeric", 8, 1, "age", None),
    FeatureSpec("history", "item_list", 8, LENGTH, "history", "item_id"),
]
NAMES = [feature.column for feature in FEATURES]
BLOCK = 4  # row groups whose rows are shuffled together
BOUNDS = {"pyarrow, the same block shuffle": 1.2, "Petastorm's shuffling queue": 2.0}


def write(folder: Path, rows: int, group: int) -> None:
    random = np.random.default_rng(0)
    for number in range(rows // group):
        lists = pa.array(random.integers(2, 100_000, group * LENGTH), pa.int32())
        offsets = pa.array(np.arange(0, group * LENGTH + 1, LENGTH), pa.int32())
        table = pa.table(
            {
                "item_index": pa.array(random.integers(2, 100_000, group), pa.int32()),
                "user_index": pa.array(random.integers(2, 1_000_000, group), pa.int32()),
                "age": pa.array(random.normal(40, 10, group), pa.float32()),
                "history": pa.ListArray.from_arrays(offsets, lists),
            }
        )
        pq.write_table(table, folder / f"part-{number:05}.parquet", compression="snappy")


def ours(files: list[str], rows: int, batch: int, readers: int) -> Iterator[Any]:
    each = [rows // len(files)] * len(files)
    (shard,) = shards(files, each, batch)
    return epoch_batches(shard, FEATURES, seed=1, readers=readers, shuffle_row_groups=BLOCK)


def by_pyarrow(files: list[str], batch: int) -> Iterator[Any]:
    """A simple loader without Petastorm: reads files into numpy arrays, and permutes the rows of each block."""
    order = np.random.default_rng(1)
    names = iter(order.permutation(files))
    while block := list(islice(names, BLOCK)):
        parts: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
        for file in block:
            table = pq.ParquetFile(file.removeprefix("file://")).read(columns=NAMES)
            for name in NAMES:
                column = table[name].combine_chunks()
                values = column.flatten().to_numpy().reshape(-1, LENGTH) if name == "history" else column.to_numpy()
                parts[name].append(values)
        whole = {name: np.concatenate(values) for name, values in parts.items()}
        permutation = order.permutation(len(whole["age"]))
        mixed = {name: torch.from_numpy(values[permutation]) for name, values in whole.items()}
        for start in range(0, len(permutation), batch):
            yield {name: values[start : start + batch] for name, values in mixed.items()}


def by_queue(files: list[str], rows: int, batch: int, readers: int) -> Iterator[Any]:
    from petastorm import make_batch_reader
    from petastorm.pytorch import BatchedDataLoader

    with make_batch_reader(files, schema_fields=NAMES, workers_count=readers, num_epochs=1) as reader:
        loader = BatchedDataLoader(reader, batch, shuffling_queue_capacity=BLOCK * rows // len(files))
        yield from loader


def timed(kind: str, folder: Path, rows: int, batch: int, readers: int) -> float:
    """Rows per second of one epoch, without its first batch, which opens the files."""
    files = sorted(path.as_uri() for path in folder.glob("*.parquet"))
    kinds: dict[str, Callable[[], Iterator[Any]]] = {
        "this loader": lambda: ours(files, rows, batch, readers),
        "pyarrow, the same block shuffle": lambda: by_pyarrow(files, batch),
        "Petastorm's shuffling queue": lambda: by_queue(files, rows, batch, readers),
    }
    batches = kinds[kind]()
    seen = len(next(batches)["item_index"])
    counted, began = seen, time.perf_counter()
    for read in batches:
        counted += len(read["item_index"])
    taken = time.perf_counter() - began
    assert counted == rows, f"{kind} read {counted} of {rows} rows"
    return (counted - seen) / taken


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rows", type=int, default=4_194_304)
    parser.add_argument("--group", type=int, default=65_536)
    parser.add_argument("--batch", type=int, default=8_192)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parse(parser, argv, rows=400, group=50, batch=64, rounds=1)
    sizes = [str(args.rows), str(args.batch), str(args.readers)]
    if args.one:
        print(timed(args.one, args.folder, args.rows, args.batch, args.readers))
        return
    kinds = ("this loader", *BOUNDS)
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="loader-") as folder:
        write(Path(folder), args.rows, args.group)
        for _ in range(args.rounds):
            for kind in kinds:
                names = ("--rows", "--batch", "--readers")
                options = [text for pair in zip(names, sizes, strict=True) for text in pair]
                child = ["--one", kind, "--folder", folder, *options]
                printed = output_of("benchmarks.training.loader", child, smoke=args.smoke)
                rates[kind].append(float(printed.split()[-1]))
    medians = {kind: statistics.median(found) for kind, found in rates.items()}
    print(
        f"{args.rows:,} rows in groups of {args.group:,}, {BLOCK} of them shuffled together; readers: {args.readers}\n"
    )
    print("| loader | rows a second | speed-up of this loader |")
    print("|---|---|---|")
    for kind, rate in medians.items():
        bound = f"{medians['this loader'] / rate:.2f} (at least {BOUNDS[kind]})" if kind in BOUNDS else ""
        print(f"| {kind} | {rate:,.0f} | {bound} |")


if __name__ == "__main__":
    main()
