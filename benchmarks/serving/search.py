"""The search kernels on one machine: exact search compared with faiss flat and torch, and approximate with exact.

    python -m benchmarks.serving.search
    python -m benchmarks.serving.search --items 1000000 --queries 2000
    python -m benchmarks.serving.search --lake LAKE --queries 8192

Vectors are drawn around centres, as trained ones are distributed; with --lake they are those of its newest model. The
kernels take turns, round after round, with the same number of threads. Approximate indexes are searched with the
smallest search budget that reaches --recall on a sample.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds.scored_world import vectors
from jobs.lake import tables
from jobs.lake.snapshots.reading import open_delta_table
from model.search.backends import build_index, load_index
from model.search.item_index import ItemIndex
from model.search.ivf_index import IvfIndex
from model.search.sharded_index import build_in_shards
from model.search.tuning import Sample, tune

MODEL = "benchmark"
FAISS_BLOCKS = 4_096, 1_024  # queries and items of a tile: the defaults of faiss 1.15


def exclusions(queries: int, items: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    flat = np.sort(np.random.default_rng(3).integers(0, items, (queries, each))).ravel()  # sorted, as in user_histories
    return flat, np.arange(0, queries * each + 1, each)


def trained_vectors(lake: str, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of the available items and of at most `queries` users of the newest day of a lake on a local disk.

    Of users with a history, as others are not searched for: about them nothing is known, and every item scores 0.
    """
    found = []
    for table in (tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS):
        found.append(sorted(open_delta_table(f"{lake}/{table.name}").file_uris()))
    days = [{file.rsplit("ds=", 1)[1][:10] for file in files} for files in found]
    newest = f"ds={max(days[0] & days[1])}"
    items, users = (pl.concat([pl.read_parquet(file) for file in files if newest in file]) for files in found)
    items, users = items.filter("available"), users.filter(~pl.col("is_cold"))
    users = users.sample(min(queries, len(users)), seed=1)
    as_array = [np.array(frame["embedding"].drop_nulls().to_list(), dtype=np.float32) for frame in (items, users)]
    return as_array[0], as_array[1]


def built_index(backend: str, items: np.ndarray, indices: np.ndarray, shard_items: int) -> ItemIndex:
    """An index of a backend, or "ivf in shards", whose shards are open, as they are where it is scored."""
    if backend != "ivf in shards":
        return build_index(backend, items, indices, model_version=MODEL)
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        made = build_in_shards(IvfIndex, items, indices, Path(folder) / "made", shard_items, model_version=MODEL)
        made.save(Path(folder) / "saved")
        return load_index(Path(folder) / "saved", MODEL)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=4_096)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--excluded", type=int, default=50, help="excluded items per query")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--annoy", action="store_true", help="build an Annoy index too")
    parser.add_argument("--shard-items", type=int, default=0, help="build ivf in shards of so many items too")
    parser.add_argument("--lake", help="search the vectors of a trained model, not drawn ones")
    args = parse(parser, argv, items=200, queries=20, dim=8, k=10, excluded=5, rounds=1, annoy=True, shard_items=70)
    if args.lake:
        items, queries = trained_vectors(args.lake, args.queries)
        (args.items, args.dim), args.queries = items.shape, len(queries)
    else:
        items, queries = vectors(args.items, args.dim, 1), vectors(args.queries, args.dim, 2)
    indices = np.arange(args.items)
    exact = build_index("exact", items, indices, model_version=MODEL)
    flat = faiss.IndexFlatIP(args.dim)
    flat.add(items)
    excluded = exclusions(args.queries, args.items, args.excluded)
    matrix, asked = torch.from_numpy(items), torch.from_numpy(queries)

    def torch_top_k() -> None:
        for part in asked.split(256):
            (part @ matrix.T).topk(args.k, dim=1)

    def faiss_flat() -> None:
        cvar = faiss.cvar
        ours = cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs
        cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs = FAISS_BLOCKS
        flat.search(queries, args.k)
        cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs = ours

    kernels: dict[str, Callable[[], object]] = {
        "exact": lambda: exact.search(queries, args.k),
        f"exact, {args.excluded} excluded": lambda: exact.search(queries, args.k, excluded),
        "faiss flat": faiss_flat,
        "faiss flat, our tiles": lambda: flat.search(queries, args.k),
        "torch mm + topk": torch_top_k,
    }
    sample = Sample(queries[:500], None, args.k)
    wanted, _ = sample.search(exact)
    for backend in ("ivf", *(["ivf in shards"] if args.shard_items else []), *(["annoy"] if args.annoy else [])):
        began = time.perf_counter()
        index = built_index(backend, items, indices, args.shard_items)
        built = time.perf_counter() - began
        found, recall, _ = tune(index, wanted, sample, args.recall)  # type: ignore[arg-type]
        name = f"{backend}, search budget {found.search_budget}, recall {recall:.4f}, built in {built:.0f} s"
        kernels[name] = lambda index=found: index.search(queries, args.k)  # type: ignore[misc]
    taken: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(args.rounds + 1):
        for name, kernel in kernels.items():
            began = time.perf_counter()
            kernel()
            taken[name].append(time.perf_counter() - began)
    report(args, items, queries, taken)


def report(args: argparse.Namespace, items: np.ndarray, queries: np.ndarray, taken: dict[str, list[float]]) -> None:
    """taken: the seconds of each kernel's rounds, of which the first one is left out."""
    began = time.perf_counter()
    some = queries[:1024]
    for _ in range(5):
        np.matmul(some, items.T)
    peak = 5 * 2 * len(some) * args.items * args.dim / (time.perf_counter() - began) / 1e9
    rates = {name: args.queries / statistics.median(seconds[1:]) for name, seconds in taken.items()}
    blas = os.environ.get("OPENBLAS_CORETYPE", "default")
    print(
        f"{args.items:,} items of {args.dim}, k = {args.k}, {torch.get_num_threads()} threads; OpenBLAS kernel: {blas}"
    )
    print(
        f"numpy's matrix product: {peak:.0f} GFLOP/s\n\n| kernel | users a second | times faiss flat |\n|---|---|---|"
    )
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {rate / rates['faiss flat']:.2f} |")


if __name__ == "__main__":
    main()
