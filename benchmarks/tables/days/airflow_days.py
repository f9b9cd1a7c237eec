"""Three days in a row through Airflow's DAG; the third model learns from shuffled clicks, and the gate must refuse it.

    python -m benchmarks.tables.days.airflow_days --lake /tmp/three_days

Each day lands, then `make airflow-run` takes it from the log to its publication. Before the third day the items of the
first two days' examples are shuffled, as by a broken join; the held-out third day stays as it is. Prints the time of
each day and ends with exit code 1 if one did not end as expected. With --forms the first day runs twice instead, each
time in a new lake: with one task per job, and with one per stage; prints both times and their ratio. With --smoke
one tiny day lands, its tables are built and shuffled without Airflow, which needs minutes and its own environment.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.command_line import benchmark_parser, output_of, parse
from jobs import run_day, simulate_log
from jobs.cli.arguments import day_argument
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.serving import PublishedCandidates

ROOT = Path(__file__).resolve().parents[3]
FORMS = ("jobs", "stages")  # of the DAG: BATCH_RECALL_TASKS
DAYS = [dt.date(2026, 3, 1) + dt.timedelta(days=number) for number in range(3)]
WORLD = ["--late", "0", "--start", str(DAYS[0])]
SIZE, SMOKE_SIZE = ["--users", "2000", "--items", "400"], ["--users", "30", "--items", "40"]
CONFIG = (
    files("jobs.config").joinpath("movielens.toml").read_text("utf-8")
    + """
[training]
epochs = 3
threads = 2
batch_size = 512
validation = "last_day"

[index]
recall_sample_users = 200

[tracking]
uri = "none"
"""
)


def shuffle_examples(uri: str, config_file: str, days: Sequence[dt.date]) -> None:
    """Shuffle the items of the days' training examples, without the checks of the job, which would refuse the rows."""
    lake, config = Lake(spark_session("shuffle"), uri), load_config(config_file)
    table = tables.training_examples(config)
    for number, day in enumerate(days):
        rows: Any = lake.day(table, day).toPandas()
        rows[["item_id", "item_index"]] = rows[["item_id", "item_index"]].sample(frac=1, random_state=number).to_numpy()
        lake.overwrite(table, day, lake.spark.createDataFrame(rows, table.schema))


def failed_rules(lake: Path, day: dt.date) -> list[str]:
    """The gate's failed rules of the day, read without Spark."""
    verdicts = pl.read_delta(str(lake / "gate"))
    return sorted(verdicts.filter((pl.col("ds") == day) & ~pl.col("passed"))["rule"])


def land(lake: Path, config: Path, day: dt.date) -> None:
    arguments = ["--lake", str(lake), "--config", str(config), "--ds", str(day), *SIZE, *WORLD]
    subprocess.run([sys.executable, "-m", "jobs.simulate_log", *arguments], check=True)


def airflow_run(lake: Path, config: Path, day: dt.date, form: str = "stages") -> tuple[float, int]:
    """Run the DAG for a landed day; returns the seconds and the exit code."""
    began = time.perf_counter()
    command = ["make", "airflow-run", f"DS={day}", f"LAKE={lake}", f"CONFIG={config}"]
    environment = {**os.environ, "MAKEFLAGS": "", "BATCH_RECALL_TASKS": form}
    code = subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode
    return time.perf_counter() - began, code


def run_through_airflow(lake: Path, config: Path, day: dt.date, *, shuffled: Sequence[dt.date]) -> tuple[str, bool]:
    """A row of the report, and whether the day ended as expected: refused after a shuffle, else published."""
    land(lake, config, day)
    if shuffled:
        arguments = ["--lake", str(lake), "--config", str(config), "--shuffle", *map(str, shuffled)]
        output_of("benchmarks.tables.days.airflow_days", arguments)
    seconds, code = airflow_run(lake, config, day)
    published, failed = PublishedCandidates.current(str(lake)), failed_rules(lake, day)
    expected = (shuffled[-1], True, True) if shuffled else (day, False, False)
    row = f"| {day} | {seconds:.0f} | {code} | {', '.join(failed) or 'none'} | {published.ds} |"
    return row, (published.ds, code != 0, bool(failed)) == expected


def run_three_days(lake: Path, config: Path) -> int:
    """Print the report of the three days; returns the exit code of the benchmark."""
    ended = [run_through_airflow(lake, config, day, shuffled=DAYS[:-1] if day == DAYS[-1] else []) for day in DAYS]
    print("\n| day | seconds | exit code | failed rules | published day |\n|---|---|---|---|---|")
    print("\n".join(row for row, _ in ended))
    return 0 if all(as_expected for _, as_expected in ended) else 1


def compare_forms(folder: Path, config: Path) -> int:
    """Run the first day in each form of the DAG and print the seconds; returns the exit code of the benchmark."""
    taken, published = {}, True
    for form in FORMS:
        lake = folder / form
        land(lake, config, DAYS[0])
        taken[form], code = airflow_run(lake, config, DAYS[0], form)
        published &= code == 0 and PublishedCandidates.current(str(lake)).ds == DAYS[0]
    print("\n| a task is a | seconds |\n|---|---|")
    print("\n".join(f"| {form.removesuffix('s')} | {seconds:.0f} |" for form, seconds in taken.items()))
    print(f"stages / jobs: {taken['stages'] / taken['jobs']:.2f} (at most .33)")
    return 0 if published else 1


def smoke() -> None:
    """Land, build and shuffle one tiny day."""
    with tempfile.TemporaryDirectory(prefix="airflow-days-") as folder:
        config = Path(folder) / "days.toml"
        config.write_text(CONFIG, "utf-8")
        arguments = ["--lake", f"{folder}/lake", "--config", str(config), "--ds", str(DAYS[0])]
        simulate_log.main([*arguments, *SMOKE_SIZE, *WORLD])
        run_day.main([*arguments, "--tables-only"])
        shuffle_examples(f"{folder}/lake", str(config), DAYS[:1])
    print("Airflow's runs: skipped, they need the environment of `make airflow` and minutes")


def main(argv: Sequence[str] | None = None) -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lake", type=Path, help="a new folder (required without --smoke)")
    parser.add_argument(
        "--forms", action="store_true", help="compare one task per job with one per stage on the first day"
    )
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shuffle", nargs="+", type=day_argument, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    if args.smoke:
        smoke()
        return 0
    if args.lake is None:
        parser.error("--lake is required without --smoke")
    if args.shuffle:
        shuffle_examples(str(args.lake), str(args.config), args.shuffle)
        return 0
    lake = args.lake.resolve()
    lake.mkdir(parents=True)
    config = lake.with_suffix(".toml")
    config.write_text(CONFIG, "utf-8")
    return compare_forms(lake, config) if args.forms else run_three_days(lake, config)


if __name__ == "__main__":
    sys.exit(main())
