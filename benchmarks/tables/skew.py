"""A day in which one item, or one user, has 30 % of the rows, compared with an even day of the same size.

Each case is a lake in its own process, whose last day is measured as a whole, from interactions to publication: the CPU
time of tasks and of Python, which other processes disturb less than seconds, the largest task, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.tables.growth_report import figures
from benchmarks.tables.growth_world import World, measure_world, summed

CASES = {
    "even": {},
    "hot item": {"hot_item": 0.3},
    "hot user": {"hot_user": 0.3},
    "set aside": {"hot_user": 0.3, "max_impressions_per_user": 50_000},  # the user counts nowhere
}
SHOWN = {"work_cpu_seconds": "CPU s", "largest_task_seconds": "largest task, s", "seconds": "s"}


def with_all(line: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of each job in a round, and of all jobs together."""
    costs = {**line["jobs"], "all": summed([*line["jobs"].values()])}
    return {job: figures(cost) for job, cost in costs.items()}


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table: each job's figures in each case, the median of the rounds, and the ratio to the even day."""
    cases = list(found)
    rounds = {case: [with_all(line) for line in lines] for case, lines in found.items()}
    heading = [f"{label}, {case}" for label in SHOWN.values() for case in cases]
    heading += [f"CPU, {case} / even" for case in cases[1:]]
    rows = [f"| job | {' | '.join(heading)} |", "|---" * (len(heading) + 1) + "|"]
    for job in rounds["even"][0]:
        values = {
            (name, case): statistics.median(jobs[job][name] for jobs in rounds[case])
            for name in SHOWN
            for case in cases
        }
        even = values["work_cpu_seconds", "even"]
        cells = [f"{value:.2f}" for value in values.values()]
        cells += [f"{values['work_cpu_seconds', case] / even:.2f}" if even else "" for case in cases[1:]]
        rows.append(f"| {job} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--impressions", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=1, help="before the measured one")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each case")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="beside `even`")
    parser.add_argument("--world", help=argparse.SUPPRESS)  # of a child process
    args = parse(parser, argv, users=30, items=120, impressions=400, days=0, cases=["hot user"])
    if args.world:
        *_, last = measure_world(World(**json.loads(args.world)))
        print(json.dumps(last))
        return
    even = World(args.users, args.items, args.impressions, args.days)
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(args.rounds):
        for case in dict.fromkeys(["even", *args.cases]):
            began = time.perf_counter()
            world = json.dumps(asdict(even) | CASES[case])
            printed = output_of("benchmarks.tables.skew", ["--world", world], smoke=args.smoke)
            found.setdefault(case, []).append(json.loads(printed.strip().splitlines()[-1]))
            print(f"{case}: {time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    print(f"{even}; median of {args.rounds} rounds\n\n{table(found)}\n\npeak MiB: ", end="")
    print("; ".join(f"{case} {lines[-1]['peak_mib']}" for case, lines in found.items()))


if __name__ == "__main__":
    main()
