"""Three days in a row through Airflow's DAG, the last one on a model of shuffled clicks, which its gate has to refuse.

    python -m benchmarks.airflow_days --lake /tmp/three_days

Each day lands, then `make airflow-run` takes it from the log to its publication. Before the third day the examples of
the first two get their items in another order, as a broken join would leave them; the held-out third day is as it was.
Prints what each day took and ends with exit code 1 where one did not end as it should.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from jobs.serving import PublishedCandidates

ROOT = Path(__file__).resolve().parents[1]
DAYS = [dt.date(2026, 3, 1) + dt.timedelta(days=number) for number in range(3)]
WORLD = ["--users", "2000", "--items", "400", "--late", "0", "--start", str(DAYS[0])]
CONFIG = """
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
SHUFFLE = """
import sys
from jobs.lake import tables
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.cli.arguments import day_argument
from jobs.lake.session import spark_session

lake, config = Lake(spark_session("shuffle", None), sys.argv[1]), load_config(sys.argv[2])
table = tables.training_examples(config)
for number, day in enumerate(map(day_argument, sys.argv[3:])):
    rows = lake.day(table, day).toPandas()
    rows[["item_id", "item_index"]] = rows[["item_id", "item_index"]].sample(frac=1, random_state=number).to_numpy()
    lake.overwrite(table, day, lake.spark.createDataFrame(rows, table.schema))  # past the checks, which would refuse it
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, type=Path, help="a folder to make; it must not be there yet")
    lake = parser.parse_args().lake.resolve()
    lake.mkdir(parents=True)
    config = lake.with_suffix(".toml")
    config.write_text(CONFIG, "utf-8")
    rows, as_it_should = [], True
    for number, day in enumerate(DAYS, start=1):
        last = number == len(DAYS)
        landing = ["--lake", str(lake), "--config", str(config), "--ds", str(day), *WORLD]
        subprocess.run([sys.executable, "-m", "jobs.simulate_log", *landing], check=True)
        if last:
            subprocess.run([sys.executable, "-c", SHUFFLE, str(lake), str(config), *map(str, DAYS[:-1])], check=True)
        began = time.perf_counter()
        command = ["make", "airflow-run", f"DS={day}", f"LAKE={lake}", f"CONFIG={config}"]
        code = subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, "MAKEFLAGS": ""}).returncode
        seconds = time.perf_counter() - began
        published, failed = PublishedCandidates.current(str(lake)), failed_rules(lake, day)
        rows.append(f"| {day} | {seconds:.0f} | {code} | {', '.join(failed) or 'none'} | {published.ds} |")
        wanted = (DAYS[-2], True, True) if last else (day, False, False)
        as_it_should &= (published.ds, code != 0, bool(failed)) == wanted
    print("\n| day | seconds | exit code | rules broken | readers follow |\n|---|---|---|---|---|")
    print("\n".join(rows))
    return 0 if as_it_should else 1


def failed_rules(lake: Path, day: dt.date) -> list[str]:
    """Rules that the day's gate has found broken; read without Spark."""
    verdicts = pl.read_delta(str(lake / "gate"))
    return sorted(verdicts.filter((pl.col("ds") == day) & ~pl.col("passed"))["rule"])


if __name__ == "__main__":
    sys.exit(main())
