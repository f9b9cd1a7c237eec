"""What a Spark session costs to open, write a Delta table and read it, with and without the archive of classes.

    python -m benchmarks.tables.session_start

Each round starts a process of each kind in turn. Seconds are elapsed, CPU seconds those of the JVM.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.tables.costs import cpu_seconds
from jobs.lake.session import spark_session
from jobs.lake.session.class_archive import class_archive, reading_options
from jobs.lake.session.settings import small_days_options

KINDS = ("with the archive", "without")


def child() -> None:
    """Print seconds and CPU seconds of one process."""
    began = time.perf_counter()
    spark = spark_session("session_start", small_days=True)
    with tempfile.TemporaryDirectory(prefix="session-start-") as folder:
        spark.range(100).write.format("delta").save(f"{folder}/table")
        spark.read.format("delta").load(f"{folder}/table").groupBy("id").count().collect()
        print(json.dumps([time.perf_counter() - began, cpu_seconds(spark)]))


def run(kind: str) -> list[float]:
    options = f"{small_days_options()} {reading_options() if kind == KINDS[0] else ''}".strip()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYSPARK_SUBMIT_ARGS": f"--driver-java-options {shlex.quote(options)} pyspark-shell",
    }
    environment.pop("PYSPARK_GATEWAY_PORT", None)
    command = [sys.executable, "-c", "from benchmarks.tables.session_start import child; child()"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parse(parser, argv, rounds=1)
    if not (reading_options() or args.smoke):
        parser.error(f"there is no archive {class_archive()}: requirements/archive_classes.py writes it")
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for _ in range(args.rounds):
        for kind in KINDS:
            found[kind].append(run(kind))
    medians = {kind: [statistics.median(column) for column in zip(*rows, strict=True)] for kind, rows in found.items()}
    print("| archive of classes | seconds | CPU seconds of the JVM |\n|---|---|---|")
    for kind, (seconds, cpu) in medians.items():
        print(f"| {kind} | {seconds:.1f} | {cpu:.1f} |")
    (own, own_cpu), (other, other_cpu) = medians.values()
    print(f"| ratio | {own / other:.2f} | {own_cpu / other_cpu:.2f} |")


if __name__ == "__main__":
    main()
