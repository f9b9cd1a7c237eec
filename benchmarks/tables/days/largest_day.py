"""The largest day that this machine takes through run_day in two hours: from landed logs to publication and look-up.

    SPARK_DRIVER_MEMORY=8g python -m benchmarks.tables.days.largest_day                   # up to two hours on two cores
    python -m benchmarks.tables.days.largest_day --users 200000 --items 20000 --impressions 2000000

The log is synthetic: every user of the day has impressions, and clicks are independent of the user, so that the figures
are of cost, not of quality. Prints each job's seconds, CPU time, bytes and largest task, the peak memory of driver,
trainer, JVM and largest Python worker, and what look-ups in the published lists take.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.serving import lookup
from benchmarks.tables.growth_report import figures
from benchmarks.tables.growth_world import CONFIG, World, measure_world

# As `recall.toml` has them, instead of one index that is the same at every size.
SETTINGS = CONFIG.replace('backend = "exact"', 'backend = "auto"')

COLUMNS = {
    "seconds": "seconds", "CPU s": "work_cpu_seconds", "MB shuffled": "shuffled_mb", "MB spilled": "spilled_mb",
    "largest task, s": "largest_task_seconds", "driver, MiB": "driver_peak_mib", "worker, MiB": "worker_peak_mib",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--impressions", type=int, default=50_000_000)
    parser.add_argument("--lookups", type=int, default=2_000)
    parser.add_argument("--folder", help="where the lake is written, and removed at the end")
    args = parse(parser, argv, users=300, items=120, impressions=6_000, lookups=200)
    with tempfile.TemporaryDirectory(prefix="largest-day-", dir=args.folder) as folder:
        report(args, Path(folder) / "lake")


def report(args: argparse.Namespace, lake: Path) -> None:
    """Run the day in a new lake and print what it took."""
    began = time.perf_counter()
    (measured,) = measure_world(World(args.users, args.items, args.impressions, days=0), lake, SETTINGS)
    seconds = time.perf_counter() - began
    print(f"{args.users:,} users, {args.items:,} items, {args.impressions:,} impressions: {seconds:,.0f} s\n")
    print(f"| {' | '.join(['job', 'rows', *COLUMNS])} |\n{'|---' * (2 + len(COLUMNS))}|")
    for job, cost in measured["jobs"].items():
        shown = {**cost, **figures(cost)}
        print(f"| {job} | {cost['rows']:,.0f} | {' | '.join(f'{shown[name]:,.1f}' for name in COLUMNS.values())} |")
    print(f"| all | | {sum(job['seconds'] for job in measured['jobs'].values()):,.1f} |{' |' * (len(COLUMNS) - 1)}")
    peaks = {
        # of the processes that this one has started and that have ended, the largest: the trainer
        "trainer": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        **measured["peak_mib"],
    }
    print(f"\npeak MiB: {', '.join(f'{name} {mib:,.0f}' for name, mib in peaks.items())}\n")
    sys.stdout.flush()
    lookup.report(str(lake), args.lookups, prefix="u")


if __name__ == "__main__":
    main()
