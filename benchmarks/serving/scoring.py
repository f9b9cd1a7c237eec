"""Scoring all users, Delta to Delta, compared with the bare search and with Spark's ALS.

    python -m benchmarks.serving.scoring                             # 200,000 users x 100,000 items
    python -m benchmarks.serving.scoring --users 1000000 --als-users 0

score_users reads vectors and exclusions, searches, and writes lists that are sorted for look-up. The bare search uses
the same index in one process with one thread per core, and reads and writes nothing. ALS scores fewer users (its rate
does not depend on their number) against as many items of as many dimensions. Peak memory is that of the largest Python
worker, which includes the matrix of item vectors that all workers map. Processor time is that of this process, the JVM
and the workers; on a machine with other work, its ratio says more than that of the rates.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import faiss
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import functions as F

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.memory import peak_mib
from benchmarks.processor_time import descendants, processor_time
from benchmarks.worlds import scored_world
from jobs import score_users
from jobs.config.loading import Config, load_config
from jobs.inference.references import index_reference
from jobs.inference.scoring import list_plan
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.workers.scoring import open_scorer
from model.features.ragged import of_lists

CONFIG = """
[index]
backend = "{backend}"
build_backends = ["{backend}"]
[scoring]
candidates_per_user = {k}
[evaluation]
cutoffs = [{k}]
"""
SMOKE = {"users": 40, "items": 60, "dim": 8, "k": 10, "excluded": 5, "rounds": 1}


def scoring_parser(doc: str | None) -> argparse.ArgumentParser:
    """The arguments of a benchmark of scoring: the sizes of its world, and where that is."""
    parser = benchmark_parser(doc)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--excluded", type=int, default=20, help="excluded items per user")
    parser.add_argument("--backend", choices=("exact", "annoy", "ivf"), default="exact")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lake", help="where the lake is, or is written to (default: a temporary folder)")
    return parser


def config_file(args: argparse.Namespace, folder: Path) -> Path:
    file = folder / "scoring.toml"
    file.write_text(CONFIG.format(backend=args.backend, k=args.k), "utf-8")
    return file


def written_world(args: argparse.Namespace, folder: Path) -> tuple[Lake, Config, Path]:
    """The lake, written if it is missing, the configuration and its file."""
    file, uri = config_file(args, folder), args.lake or f"{folder}/lake"
    if not Path(uri).exists():  # in another process: workers that drew vectors have imported torch
        sizes = {name: getattr(args, name) for name in ("users", "items", "dim", "k", "excluded", "backend")}
        options = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
        output_of("benchmarks.serving.scoring", ["--write", *options, "--lake", uri], smoke=args.smoke)
    return Lake(spark_session("scoring"), uri), load_config(file), file


def main(argv: Sequence[str] | None = None) -> None:
    parser = scoring_parser(__doc__)
    parser.add_argument("--als-users", type=int, default=10_000, help="0: without ALS")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    args = parse(parser, argv, als_users=20, **SMOKE)
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder:
        if args.write:
            lake, config = Lake(spark_session("scoring"), args.lake), load_config(config_file(args, Path(folder)))
            scored_world.write(lake, config, args.users, args.items, args.dim, args.excluded)
        else:
            report(args, *written_world(args, Path(folder)))


def report(args: argparse.Namespace, lake: Lake, config: Config, file: Path) -> None:
    argv = ["--lake", lake.uri, "--ds", str(scored_world.DAY), "--config", str(file)]
    bare = bare_search(lake, config)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "the bare search": (min(args.users, 20_000), lambda: bare(min(args.users, 20_000))),
        "score_users, Delta to Delta": (args.users, lambda: score_users.main(argv)),
    }
    if args.als_users:
        ways["ALS recommendForAllUsers"] = (args.als_users, als(lake, args))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}  # seconds, and those of processors
    with worker_peak() as peak:
        for _ in range(args.rounds):
            for name, (_, way) in ways.items():
                began, before = time.perf_counter(), processor_time()
                way()
                taken[name].append((time.perf_counter() - began, processor_time().since(before).total))
                print(f"{name}: {taken[name][-1][0]:.1f} s, of processors {taken[name][-1][1]:.1f} s", file=sys.stderr)
    rates = {name: medians_per_user(rounds, ways[name][0]) for name, rounds in taken.items()}
    bare_rate, bare_processor = rates["the bare search"]
    print(f"\n{args.items:,} items of {args.dim}, k = {args.k}, {args.backend}, {args.excluded} excluded per user\n")
    print("| way | users | users a second | of the bare search | processor time a user | the bare search's share |")
    print("|---|---|---|---|---|---|")
    for name, (rate, processor) in rates.items():
        print(f"| {name} | {ways[name][0]:,} | {rate:,.0f} | {rate / bare_rate:.2f} ", end="")
        print(f"| {1e6 * processor:.0f} µs | {bare_processor / processor:.2f} |")
    written = lake.pinned(tables.CANDIDATES, scored_world.DAY, 1).files
    size = sum(Path(urlparse(name).path).stat().st_size for name in written)
    print(f"\nwritten: {len(written)} files, {size / 1e6:,.0f} MB, {size / args.users:,.0f} bytes a user")
    print(f"largest Python worker: {peak[0]:,.0f} MiB; the matrix: {args.items * args.dim * 4 / 2**20:,.0f} MiB")


def medians_per_user(rounds: Sequence[tuple[float, float]], users: int) -> tuple[float, float]:
    """Users a second, and processor seconds a user."""
    seconds, processor = (statistics.median(values) for values in zip(*rounds, strict=True))
    return users / seconds, processor / users


def bare_search(lake: Lake, config: Config) -> Callable[[int], object]:
    """A function that searches, with all cores of this process, the lists of the lake's first N users."""
    lists = open_scorer(index_reference(lake, config, scored_world.DAY), list_plan(config)).candidate_lists
    some = (
        score_users.users_to_score(lake, scored_world.DAY, scored_world.VERSION)
        .limit(20_000)
        .toArrow()
        .combine_chunks()
    )
    queries = some["embedding"].combine_chunks().flatten().to_numpy().reshape(some.num_rows, -1)
    excluded = of_lists(some["excluded"].combine_chunks())

    def search(users: int) -> object:
        faiss.omp_set_num_threads(os.cpu_count() or 1)  # score_users has set it to a task's number in this process
        return lists.index.search(
            queries[:users], config.scoring.candidates_per_user, (excluded.flat, excluded.offsets[: users + 1])
        )

    return search


def als(lake: Lake, args: argparse.Namespace) -> Callable[[], object]:
    """A function that writes the lists of an ALS model as Parquet; every user and item has a random rating."""
    spark, size = lake.spark, max(args.als_users, args.items)
    ratings = spark.range(size).select(
        (F.col("id") % args.als_users).cast("int").alias("user"),
        (F.col("id") % args.items).cast("int").alias("item"),
        F.rand(1).alias("rating"),
    )
    model: ALSModel = ALS(rank=args.dim, maxIter=1, userCol="user", itemCol="item", ratingCol="rating", seed=1).fit(
        ratings
    )
    return lambda: model.recommendForAllUsers(args.k).write.mode("overwrite").parquet(lake.path("als"))


@contextmanager
def worker_peak() -> Iterator[list[float]]:
    """Peak MiB of the largest Python worker that was alive while the block ran, in a list of one number."""
    peak, done = [0.0], threading.Event()

    def poll() -> None:
        while not done.wait(0.5):
            for process in descendants():
                try:
                    if "pyspark.daemon" in Path(f"/proc/{process.id}/cmdline").read_text("utf-8"):
                        peak[0] = max(peak[0], peak_mib(process.id))
                except (OSError, TypeError):  # the process has ended
                    continue

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
