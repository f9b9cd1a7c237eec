"""What a small day costs, however few rows it has: Spark jobs, openings of table logs and seconds of each job.

The tables of MovieLens-100K's first logical days (`run_day --tables-only`), in one session with settings for small
days. Opening a log means listing it and reading the commits that were not read before. The row of `run_day` has what
runs between the jobs. Jobs and openings are counts, which no other process of the machine changes.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

from benchmarks.command_line import benchmark_parser, parse
from jobs import ingest_movielens
from jobs.cli.display import Display
from jobs.config.loading import load_config
from jobs.lake.integrity import detect
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.run_day import TABLE_JOBS, run_day

FIRST = dt.date(2026, 1, 1)
FEATURES = "movielens"  # the configuration that declares them


@dataclass(frozen=True)
class Cost:
    """What a job, or a whole day, costs. opened: how often the log of each table was opened."""

    name: str
    spark_jobs: int
    opened: Counter[str]
    seconds: float

    @property
    def openings(self) -> int:
        return self.opened.total()


@dataclass
class CostDisplay(Display):
    """Shows the jobs of a day, and records what each costs, by `measure(name, work)`."""

    measure: Callable[[str, Callable[[], int]], Cost] | None = None
    costs: list[Cost] = field(default_factory=list)

    def step(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        assert self.measure is not None
        self.costs.append(self.measure(job, lambda: super(CostDisplay, self).step(job, day, work)))
        return self.steps[-1].rows


def day_costs(lake: Lake, ds: dt.date) -> list[Cost]:
    """Build the tables of a day that has landed; returns the costs of its jobs, of what is between, and of all."""
    scheduler = lake.spark._jsc.sc().dagScheduler()
    with patch.object(detect, "_read_log", wraps=detect._read_log) as reads:

        def measure(name: str, work: Callable[[], object]) -> Cost:
            began, jobs, opened = time.perf_counter(), int(scheduler.numTotalJobs()), reads.call_count
            work()
            found = Counter(call.args[0].name for call in reads.call_args_list[opened:])
            return Cost(name, int(scheduler.numTotalJobs()) - jobs, found, time.perf_counter() - began)

        display = CostDisplay(str(ds), measure=measure)
        shared, config = ["--lake", lake.uri, "--config", FEATURES], load_config(FEATURES)
        day = measure("day", lambda: run_day(lake, config, ds, shared, display, jobs=TABLE_JOBS))
    between = Cost(
        "run_day",
        day.spark_jobs - sum(cost.spark_jobs for cost in display.costs),
        day.opened - sum((cost.opened for cost in display.costs), Counter()),
        day.seconds - sum(cost.seconds for cost in display.costs),
    )
    return [*display.costs, between, day]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--days", type=int, default=2, help="logical days of MovieLens, of which there are ten (default 2)"
    )
    args = parse(parser, argv, days=1)
    with tempfile.TemporaryDirectory(prefix="fixed-costs-") as folder:
        lake = Lake(spark_session("fixed_costs", small_days=True), folder)
        ingest_movielens.main(["--lake", folder, "--ds", str(FIRST), "--config", FEATURES])
        for number in range(args.days):
            ds = FIRST + dt.timedelta(days=number)
            costs = day_costs(lake, ds)
            print(f"\n| {ds} | Spark jobs | openings of logs | seconds |\n|---|---|---|---|")
            for cost in costs:
                print(f"| {cost.name} | {cost.spark_jobs} | {cost.openings} | {cost.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
