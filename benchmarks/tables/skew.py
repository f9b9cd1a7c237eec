"""A day in which one item, or one user, has 30 % of the rows, compared with an even day of the same size.

Each day is built in its own process, whose peak memory is that of the JVM (driver and executor in local mode) and of
the Python driver. The day is built `--rounds` times, after a first time that warms the JVM up.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.memory import peak_mib
from benchmarks.worlds.synthetic_log import SLATE, SyntheticLog
from jobs.cli.display import Display
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.run_day import TABLE_JOBS, WINDOW_JOBS, run_day

DAY = dt.date(2026, 1, 1)
CASES = {"even": {}, "hot item": {"hot_item": 0.3}, "hot user": {"hot_user": 0.3}}


def measure(case: str, impressions: int, rounds: int) -> dict[str, object]:
    """Seconds by job in each round, and the peak memory of JVM and Python in MiB."""
    spark, config = spark_session("skew"), load_config()
    pid = spark._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]
    log = SyntheticLog(impressions // SLATE, impressions // 20, 50_000, **CASES[case])
    taken: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="skew-") as folder:
        lake = Lake(spark, folder)
        log.land(lake, config, DAY, first=True)
        for _ in range(rounds + 1):
            display = Display(case)
            run_day(lake, config, DAY, ["--lake", folder], display, jobs=(*TABLE_JOBS, *WINDOW_JOBS))
            taken.append({step.job: step.seconds for step in display.steps})
    return {"rounds": taken[1:], "jvm": peak_mib(pid), "python": peak_mib()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--impressions", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    args = parse(parser, argv, impressions=400, rounds=1)
    if args.case:
        print(json.dumps(measure(args.case, args.impressions, args.rounds)))
        return
    found = {}
    for case in CASES:
        began = time.perf_counter()
        child = ["--case", case, "--impressions", str(args.impressions), "--rounds", str(args.rounds)]
        printed = output_of("benchmarks.tables.skew", child, smoke=args.smoke)
        found[case] = json.loads(printed.strip().splitlines()[-1])
        print(f"{case}: {time.perf_counter() - began:.0f} s in all", file=sys.stderr)
    jobs = list(found["even"]["rounds"][0])
    medians = {
        case: {job: statistics.median(r[job] for r in result["rounds"]) for job in jobs}
        for case, result in found.items()
    }
    print(f"{args.impressions:,} impressions; seconds, median of {args.rounds} rounds\n")
    print("| job | " + " | ".join(CASES) + " | hot item / even | hot user / even |")
    print("|---|" + "---|" * (len(CASES) + 2))
    for job in [*jobs, "all"]:
        row = [medians[case][job] if job != "all" else sum(medians[case].values()) for case in CASES]
        ratios = [f"{seconds / row[0]:.2f}" for seconds in row[1:]]
        print(f"| {job} | " + " | ".join([*(f"{seconds:.1f}" for seconds in row), *ratios]) + " |")
    print("\npeak MiB, JVM (driver and executor) + Python driver: ", end="")
    print(", ".join(f"{case} {result['jvm']:,.0f} + {result['python']:,.0f}" for case, result in found.items()))


if __name__ == "__main__":
    main()
