"""100 reads per second while candidates are published and rolled back: does a reader ever see two publications at once?

Every item and model version of a publication's lists contains its name. Readers are processes without Spark, as a
ranking service is; they follow the publications, look a user up, and now and then read all lists. Every answer must be
of one publication only. A rollback is timed within a running session, and as a command.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from benchmarks.command_line import benchmark_parser, output_of, parse
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.serving import PublishedCandidates, read_candidates
from jobs.serving.publishing import newest_target, publish
from jobs.serving.rollback import roll_back

DAY = dt.date(2026, 1, 1)
AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
LIST = 20
MAX_BACK = 3  # the most publications that a rollback goes back
ALL_LISTS_EVERY = 50  # every so many reads, all lists are read; the other reads look one user up


@dataclass
class Seen:
    """What one reader read."""

    reads: int = 0
    torn: list[str] = field(default_factory=list)
    late: int = 0  # reads that began more than a second behind their time
    publications: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0


def write_lists(lake: Lake, name: str, users: int) -> None:
    """Write the day's candidates and model version, all named after the publication."""
    spark = lake.spark
    places = F.sequence(F.lit(1), F.lit(LIST))
    items = F.transform(
        places,
        lambda n: F.struct(
            F.concat(F.lit(f"{name}-"), n).alias("item_id"),
            (1 / n).cast("float").alias("score"),
            n.alias("rank"),
            F.lit("two_tower").alias("source"),
            (1 / n).cast("float").alias("channel_score"),
        ),
    )
    rows = spark.range(users).select(
        F.lit(DAY).alias("ds"),
        F.concat(F.lit("user"), "id").alias("user_id"),
        items.alias("candidates"),
        F.lit(name).alias("model_version"),
        F.lit(AT).alias("scored_at"),
    )
    ordered = rows.repartitionByRange(2, "user_id").sortWithinPartitions("user_id")
    lake.overwrite(tables.CANDIDATES, DAY, ordered)
    model = [(DAY, name, DAY, 1, 0, 1.0, 1.0)]
    lake.overwrite(tables.MODEL_VERSIONS, DAY, spark.createDataFrame(model, tables.MODEL_VERSIONS.schema))


def write_vectors(lake: Lake) -> None:
    """Create the empty tables of embeddings, which a publication also points to; nothing reads them here."""
    for table in (tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS):
        lake.append(table, lake.spark.createDataFrame([], table.schema))


def inconsistency(answer: Any, users: int) -> str | None:
    """Why an answer for `users` users is not of one publication only; None if it is."""
    versions = set(answer["model_version"])
    if len(answer) != users * LIST or len(versions) != 1:
        return f"{len(answer)} rows of {sorted(versions)}, expected {users * LIST} of one publication"
    (version,) = versions
    if set(answer["item_id"].str.rpartition("-")[0]) != {version}:
        return f"items of {sorted(set(answer['item_id'].str.rpartition('-')[0]))} in lists of {version}"
    return None


def read_until_stopped(lake: str, rate: float, users: int, seed: int, reading: Any, stop: Any, answer: Any) -> None:
    """Read `rate` times per second on a fixed schedule until `stop` is set; the statistics go into `answer`.

    `reading` is released after the first read.
    """
    chance, seen, published = random.Random(seed), Seen(), PublishedCandidates.current(lake)
    began = time.perf_counter()
    while not stop.is_set():
        due = began + seen.reads / rate
        time.sleep(max(due - time.perf_counter(), 0))
        whole = seen.reads % ALL_LISTS_EVERY == 0
        start = time.perf_counter()
        if whole:
            found = read_candidates(lake)
        else:
            published = published.refreshed()
            found = published.lists_for([f"user{chance.randrange(users)}"])
        seen.milliseconds.append(1_000 * (time.perf_counter() - start))
        seen.reads += 1
        if seen.reads == 1:
            reading.release()
        seen.late += start - due > 1
        problem = inconsistency(found, users if whole else 1)
        if problem:
            seen.torn.append(problem)
        elif not seen.publications or seen.publications[-1] != found["model_version"].iloc[0]:
            seen.publications.append(found["model_version"].iloc[0])
    seen.seconds = time.perf_counter() - began
    answer.put(vars(seen))


@contextmanager
def readers(lake: str, rate: float, users: int, processes: int) -> Iterator[list[dict[str, Any]]]:
    """Run reader processes during the block; the list is filled with their statistics when it ends."""
    context = multiprocessing.get_context("spawn")  # the readers must not inherit Spark's JVM
    reading, stop, answer = context.Semaphore(0), context.Event(), context.Queue()
    arguments = [(lake, rate / processes, users, seed, reading, stop, answer) for seed in range(processes)]
    started = [context.Process(target=read_until_stopped, args=each, daemon=True) for each in arguments]
    for process in started:
        process.start()
    seen: list[dict[str, Any]] = []
    try:
        for _ in started:
            assert reading.acquire(timeout=60), "a reader must read once within 60 s"
        yield seen
    finally:
        stop.set()
        seen += [answer.get(timeout=60) for process in started]
        for process in started:
            process.join(60)


def publications_and_rollbacks(lake: Lake, count: int, users: int, seed: int) -> list[float]:
    """Make `count` publications, every third a rollback; returns the seconds of each rollback."""
    chance, seconds = random.Random(seed), []
    for number in range(1, count + 1):
        if number % 3 == 0:
            began = time.perf_counter()
            roll_back(lake, chance.randint(1, min(MAX_BACK, number - 1)), AT)
            seconds.append(time.perf_counter() - began)
        else:
            write_lists(lake, f"publication-{number}", users)
            publish(lake, {**newest_target(lake, DAY), "users": users}, AT, republish=False)
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--publications", type=int, default=200, help="number of publications and rollbacks (each third)"
    )
    parser.add_argument("--rate", type=float, default=100, help="reads a second, of all readers together")
    parser.add_argument("--readers", type=int, default=1, help="processes")
    parser.add_argument("--users", type=int, default=2_000)
    args = parse(parser, argv, publications=3, rate=20.0, users=20)
    with tempfile.TemporaryDirectory(prefix="publication-readers-") as folder:
        lake = Lake(spark_session("publication_readers", small_days=True), str(Path(folder) / "lake"))
        write_vectors(lake)
        write_lists(lake, "publication-0", args.users)
        publish(lake, {**newest_target(lake, DAY), "users": args.users}, AT, republish=False)
        with readers(lake.uri, args.rate, args.users, args.readers) as seen:
            time.sleep(3)
            rollbacks = publications_and_rollbacks(lake, args.publications, args.users, seed=1)
        print(f"publications in the table: {lake.read(tables.PUBLICATIONS).count():,}")
        report(seen)
        print(f"rollback, session running: median {statistics.median(rollbacks):.2f} s, longest {max(rollbacks):.2f} s")
        taken = []
        for _ in range(1 if args.smoke else 3):
            began = time.perf_counter()
            output_of("jobs.publish_candidates", ["--lake", lake.uri, "--rollback"], smoke=args.smoke)
            taken.append(time.perf_counter() - began)
        print(f"rollback, the whole command: {json.dumps([round(one, 1) for one in taken])} s")


def report(seen: list[dict[str, Any]]) -> None:
    reads, seconds = sum(one["reads"] for one in seen), max(one["seconds"] for one in seen)
    taken = np.concatenate([one["milliseconds"] for one in seen])
    torn = [problem for one in seen for problem in one["torn"]]
    print(f"{reads:,} reads in {seconds:,.0f} s, {reads / seconds:.1f} a second; {len(torn)} inconsistent: {torn[:3]}")
    print(f"median {np.median(taken):.1f} ms, 99th percentile {np.percentile(taken, 99):.1f} ms")
    print(f"late by more than a second: {sum(one['late'] for one in seen):,}")
    print(f"publications seen by the first reader, one after the other: {len(seen[0]['publications']):,}")


if __name__ == "__main__":
    main()
