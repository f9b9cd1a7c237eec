"""The same day with 1, 2 and 4 executors of one core: are the rows the same, and how much faster is each job?

    python -m benchmarks.tables.days.executors --executors 1 2 4 --rounds 2

The executors are processes of a standalone cluster on this machine (Spark's local-cluster). All jobs of a synthetic day
run, up to its publication. Executors beyond the cores of the machine cannot make it faster: what they show is that the
rows stay the same, and what more of them cost. The trainer is one process with two threads in all cases.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.tables.growth_world import World, measure_world
from jobs.lake.session import spark_session

DIGITS = 12  # after the point
# Two runs make the same tables, but different times at which they were made and different names of models.
NOT_COMPARED = {"model_version", "scored_at", "published_at", "created_at", "evaluated_at", "trained_at"}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--impressions", type=int, default=2_000_000)
    parser.add_argument("--executors", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=1, help="processes of each number of executors, in turns")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # of a child process: its number of executors
    args = parse(parser, argv, users=30, items=120, impressions=400, executors=[1])
    if args.one is not None:
        print(json.dumps(measured(World(args.users, args.items, args.impressions, days=0), args.one)))
        return
    sizes = ["--users", str(args.users), "--items", str(args.items), "--impressions", str(args.impressions)]
    found: dict[int, list[dict[str, Any]]] = {}
    for _ in range(args.rounds):
        for executors in args.executors:
            printed = output_of("benchmarks.tables.days.executors", [*sizes, "--one", str(executors)], smoke=args.smoke)
            found.setdefault(executors, []).append(json.loads(printed.strip().splitlines()[-1]))
            print(f"{executors} executors: {found[executors][-1]['seconds']}", file=sys.stderr, flush=True)
    print(f"{args.users:,} users, {args.items:,} items, {args.impressions:,} impressions; {args.rounds} rounds\n")
    print(f"{table(found)}\n\n{differences(found)}")


def measured(world: World, executors: int) -> dict[str, Any]:
    """The seconds of each job, and a digest of the rows of each table."""
    master = f"local-cluster[{executors},1,2048]"
    with tempfile.TemporaryDirectory(prefix="executors-") as folder:
        lake = Path(folder) / "lake"
        (day,) = measure_world(world, lake, master=master)
        spark = spark_session("executors", master)
        tables = sorted(log.parent for log in lake.glob("*/_delta_log"))
        rows = {table.name: digest(spark.read.format("delta").load(str(table))) for table in tables}
        return {"seconds": {job: cost["seconds"] for job, cost in day["jobs"].items()}, "rows": rows}


def digest(rows: DataFrame) -> str:
    """The number of rows, and a sum of their hashes, which does not depend on their order.

    The last digits of a mean depend on the order in which its parts were added, so only DIGITS of a column of doubles
    are compared. Doubles inside of structs and arrays are compared as they are.
    """
    doubles = {name for name, kind in rows.dtypes if kind == "double"}
    compared = [
        f"to_json(struct({f'round({name}, {DIGITS})' if name in doubles else name}))"
        for name in sorted(rows.columns)
        if name not in NOT_COMPARED
    ]
    summed = F.sum(F.expr(f"cast(xxhash64({', '.join(compared)}) as decimal(38, 0))"))
    found = rows.select(F.count(F.lit(1)), summed).first()
    assert found is not None
    return f"{found[0]} rows, {found[1]}"


def table(found: dict[int, list[dict[str, Any]]]) -> str:
    """A Markdown table with a row per job: median seconds, and how many times faster than with the fewest executors."""
    first, *more = sorted(found)
    head = ["job", f"seconds, {first} executor{'s' * (first > 1)}"]
    head += [text for number in more for text in (f"{number} executors", "times faster")]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    jobs = list(found[first][0]["seconds"])
    for job in [*jobs, "all"]:
        median = {
            number: statistics.median(
                sum(one["seconds"].values()) if job == "all" else one["seconds"][job] for one in runs
            )
            for number, runs in found.items()
        }
        cells = [f"{median[first]:.1f}"]
        for number in more:
            faster = f"{median[first] / median[number]:.2f}" if median[number] >= 0.05 else ""
            cells += [f"{median[number]:.1f}", faster]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(found: dict[int, list[dict[str, Any]]]) -> str:
    """Which tables have the same rows in all runs, and which have not."""
    runs = [run["rows"] for runs in found.values() for run in runs]
    names = sorted({name for rows in runs for name in rows})
    differing = [name for name in names if len({rows.get(name) for rows in runs}) > 1]
    equal = [name for name in names if name not in differing]
    return f"same rows: {', '.join(equal) or 'none'}\nother rows: {', '.join(differing) or 'none'}"


if __name__ == "__main__":
    main()
