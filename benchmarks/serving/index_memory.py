"""The memory in which the indexes of a day are built, in bytes an item: the slope between catalogues of three sizes.

    python -m benchmarks.serving.index_memory
    python -m benchmarks.serving.index_memory --backends ivf --shard-items 50000

Each index is built in a process of its own, as build_item_index builds it beside Spark: the vectors of a Parquet file,
the exact search of a sample, the tuned index, the details of the items. Anonymous memory is what a process must have;
the other part of its peak is of mapped files, which the kernel takes away where memory is short.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.memory import peaks_of_child
from benchmarks.worlds.scored_world import vectors
from jobs.config.loading import Config, load_config
from jobs.inference.index_building import build_parts, items_by_index, write_item_details
from jobs.workers.embedding import list_array
from jobs.workers.item_details import ItemDetails
from model.data.parquet_files import read_files
from model.search.tuning import Sample

MODULE, ROWS_AT_ONCE = "benchmarks.serving.index_memory", 50_000
USERS, K = 500, 100


def write_items(path: Path, items: int, dim: int) -> None:
    """A file of item_embeddings in which the items are not in order, as in the table."""
    order = np.random.default_rng(3).permutation(items).astype(np.int32)
    writer = None
    for start in range(0, items, ROWS_AT_ONCE):
        indices = order[start : start + ROWS_AT_ONCE]
        rows = {
            "item_id": pa.array([f"item{index}" for index in indices.tolist()]),
            "item_index": pa.array(indices),
            "available": pa.array(np.ones(len(indices), dtype=bool)),
            "embedding": list_array(vectors(len(indices), dim, seed=start)),
        }
        table = pa.table(rows)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def build(folder: Path, config: Config, dim: int) -> dict[str, Any]:
    """Build what is configured; returns the measurement of the index."""
    files = [(folder / "items.parquet").as_uri()]
    sample = Sample(vectors(USERS, dim, seed=2), None, K)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        parts, work = Path(temporary) / "parts", Path(temporary) / "work"
        parts.mkdir()
        (row,) = build_parts(config, files, "benchmark", sample, parts, work)
        rows = read_files(files, ["item_id", "item_index", "available"])
        write_item_details(parts / "items", ItemDetails(items_by_index(rows, None), pa.table({})), "benchmark", "")
    return {"recall": row.recall, "budget": row.search_budget}


def configured(backend: str, shard_items: int) -> Config:
    config = load_config()
    settings = {"backend": backend, "build_backends": (backend,), "shard_items": shard_items}
    return config.model_copy(update={"index": config.index.model_copy(update=settings)})


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--backends", nargs="+", default=["exact", "ivf", "annoy"])
    parser.add_argument("--shard-items", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parse(parser, argv, items=[1_000, 2_000], dim=8)
    if args.one:
        one = json.loads(args.one)
        made = build(Path(one["folder"]), configured(one["backend"], one["shard_items"]), one["dim"])
        print(json.dumps(made))
        return
    print(f"{args.dim} dimensions, shards of {args.shard_items:,} items (0: none)\n")
    print("| backend | items | recall | anonymous, MiB | peak, MiB | bytes an item: anonymous | peak |")
    print("|---|---|---|---|---|---|---|")
    for backend in args.backends:
        before: tuple[int, tuple[float, float]] | None = None
        for items in args.items:
            with tempfile.TemporaryDirectory(prefix="index-memory-") as folder:
                write_items(Path(folder) / "items.parquet", items, args.dim)
                one = {"folder": folder, "backend": backend, "shard_items": args.shard_items, "dim": args.dim}
                printed, anonymous, peak = peaks_of_child(MODULE, ["--one", json.dumps(one)], smoke=args.smoke)
            recall = json.loads(printed.strip().splitlines()[-1])["recall"]
            sizes, slopes = (anonymous, peak), ["", ""]
            if before is not None:
                more = items - before[0]
                slopes = [f"{(new - old) * 2**20 / more:,.0f}" for new, old in zip(sizes, before[1], strict=True)]
            cells = [backend, f"{items:,}", f"{recall:.4f}", *(f"{size:,.0f}" for size in sizes), *slopes]
            print(f"| {' | '.join(cells)} |", flush=True)
            before = items, sizes


if __name__ == "__main__":
    main()
