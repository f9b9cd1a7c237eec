"""Runs the daily DAG for one day in this process: `run_one_day.py YYYY-MM-DD`. Exit code 0 if it succeeds, else 1."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

DAGS = Path(__file__).resolve().parents[1]


def daily_dag() -> DAG:
    """The daily DAG without retries, and without waiting for a log that has not landed."""
    bag = DagBag(DAGS)
    if bag.import_errors:
        raise SystemExit("\n".join(bag.import_errors.values()))
    dag = bag.dags["batch_recall_daily"]
    for task in dag.tasks:
        task.retries = 0
    dag.get_task("await_log").timeout = 0
    return dag


def day(text: str) -> date:
    """A day, YYYY-MM-DD, as an argparse type."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a day, YYYY-MM-DD, got {text!r}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ds", type=day, metavar="DS", help="the day, YYYY-MM-DD")
    ds = parser.parse_args().ds
    run = daily_dag().test(logical_date=datetime(ds.year, ds.month, ds.day, tzinfo=UTC))
    for ti in sorted(run.get_task_instances(), key=lambda ti: (ti.start_date is None, ti.start_date)):
        print(f"{ds}  {ti.task_id:<26} {ti.state or 'not run':<16} {ti.duration or 0:>7.1f} s")
    print(f"{ds}  {run.state}")
    return 0 if run.state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
