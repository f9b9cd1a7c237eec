"""What each job of a day costs at 1, 2, 4 and 8 times the users, the items, the rows, and the days before it.

    python -m benchmarks.growth                     # on two cores; continues an interrupted run
    python -m benchmarks.growth --report-only       # the tables and plots of the worlds that were measured

Every world is a lake of synthetic days in a process of its own. All jobs of its last day are measured: CPU time,
shuffled and spilled bytes, the largest task, seconds, and peak memory. Growth is judged by CPU time and bytes, which
other processes disturb less than seconds. The worlds are stored under --folder, a line each.

With --one-process a single process, which a small world has warmed up, measures them: that takes less time, but the
peak memory is that of the largest world so far.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.tables import growth_report
from benchmarks.tables.growth_report import AXES, FLAT
from benchmarks.tables.growth_world import World, measure_world

WARM_UP = World(users=500, items=200, impressions=4_000)  # compiles the code
LINE = '{"world"'  # with which a child's lines begin
PLOTS = Path(__file__).with_name("plots") / "growth"


def worlds(base: World, axes: Sequence[str], factors: Sequence[int]) -> list[World]:
    """All worlds that are measured, each once, in the order of the factors; those with longer histories last."""
    growing = [axis for axis in axes if axis not in FLAT]
    history = [axis for axis in axes if axis in FLAT]
    ordered = [(axis, factor) for group in (growing, history) for factor in factors for axis in group]
    return list(dict.fromkeys(base.grown(AXES[axis], factor) for axis, factor in ordered))


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def measure(world: World, file: Path, *, smoke: bool, one_process: bool) -> None:
    """Measure a world, in a process of its own unless `one_process`, and append a line a measured day to the file."""
    load = round(os.getloadavg()[0], 1)
    if one_process:
        lines: Iterable[dict[str, Any]] = measure_world(world)
    else:
        printed = output_of("benchmarks.growth", ["--world", json.dumps(asdict(world))], smoke=smoke)
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith(LINE)]
    file.parent.mkdir(parents=True, exist_ok=True)
    for line in lines:
        ended = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        load_now = round(os.getloadavg()[0], 1)
        run = {"commit": _commit(), "ended": ended, "load": [load, load_now], "one_process": one_process}
        with file.open("a", encoding="utf-8") as stored:
            stored.write(json.dumps({**line, **run}) + "\n")
        print(f"{line['world']}: {ended}, load {load_now}", file=sys.stderr, flush=True)


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def report(
    lines: Sequence[dict[str, Any]], base: World, axes: Sequence[str], factors: Sequence[int], plots: Path
) -> None:
    """Print the tables, and draw a plot a job into `plots`."""
    found = {axis: growth_report.curve(lines, base, axis, factors) for axis in axes}
    curves = {axis: points for axis, points in found.items() if points}
    for axis, points in curves.items():
        print(f"\n### {axis}\n\n{growth_report.axis_table(points, axis)}")
    print(f"\n### All axes\n\n{growth_report.all_axes(curves)}")
    print(f"\n### A million more\n\n{growth_report.per_million(curves, base)}")
    steep = growth_report.too_steep(curves)
    print(f"\nfaster than {growth_report.BOUND} times the expected growth: {len(steep)}")
    print("\n".join(steep))
    for job in growth_report.worth_drawing(curves):
        growth_report.draw(job, curves, plots / f"{job}.svg")
    for line in lines:
        peaks = ", ".join(f"{name} {mib:,.0f}" for name, mib in line["peak_mib"].items())
        print(f"{World(**line['world'])}: {line['commit']}, load {line['load']}, peak MiB {peaks}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=20_000, help="of the smallest world")
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--impressions", type=int, default=200_000, help="of a day")
    parser.add_argument("--days", type=int, default=1, help="before the measured one")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--factors", nargs="+", type=int, default=[1, 8, 4, 2], help="in this order")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where costs are stored")
    parser.add_argument("--plots", type=Path, default=PLOTS)
    parser.add_argument("--again", action="store_true", help="also measure worlds that were measured before")
    parser.add_argument("--one-process", action="store_true", help="measure all worlds in this process, one by one")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    parser.add_argument("--world", help=argparse.SUPPRESS)  # of a child process
    args = parse(parser, argv, users=30, items=120, impressions=400, days=0, axes=["users"], factors=[1])
    if args.world:
        for line in measure_world(World(**json.loads(args.world))):
            print(json.dumps(line), flush=True)
        return
    base = World(args.users, args.items, args.impressions, args.days)
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        if args.smoke:
            args.folder = args.plots = Path(folder)
        file = args.folder / "growth.jsonl"
        is_warm = not args.one_process
        for world in [] if args.report_only else worlds(base, args.axes, args.factors):
            if not args.again and world in [World(**line["world"]) for line in read_lines(file)]:
                continue  # measured before, or together with a world of a longer history
            if not is_warm:
                list(measure_world(WARM_UP))
                is_warm = True
            measure(world, file, smoke=args.smoke, one_process=args.one_process)
        report(read_lines(file), base, args.axes, args.factors, args.plots)


if __name__ == "__main__":
    main()
