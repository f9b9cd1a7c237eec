"""Runs a job as a program: a known error becomes one line on stderr and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pyspark.accumulators import AccumulatorServer
from pyspark.logger import PySparkLogger

from jobs.lake.errors import DiskFull, TargetUnavailable, WriteConflict, user_message
from jobs.raw_log.preconditions import DayStopped
from jobs.tuning.lock import SearchIsRunning
from model.training.processes.parent_process import end_with_parent

USER_ERROR = 2  # the same command would fail again
TRY_AGAIN = 75  # EX_TEMPFAIL: the same command may succeed later
TEMPORARY = (WriteConflict, DiskFull, SearchIsRunning, TargetUnavailable)  # ValueErrors that end a job with TRY_AGAIN
# What a job's `main` counts, unless it counts rows (of the tables that its docstring names first).
COUNTED = {
    "explain_user": "candidates",
    "export_candidates": "users with a list",
    "forget_users": "removed rows",
    "maintain_tables": "tables",
    "publish_candidates": "users with a list",
    "repair_table": "moved files",
    "report_run": "sections of the report",
    "sample_log": "impressions",
    "train_two_tower": "training examples",
    "tune_two_tower": "trials",
}


def run(main: Callable[[Sequence[str] | None], object]) -> None:
    """Run a job's `main`, print what it did, and exit; errors that are not bugs are one line, without a traceback.

    Exit code USER_ERROR: a wrong argument, wrong data, or a day that stops on purpose. TRY_AGAIN: another writer or
    search, a full disk, an unresponsive store or target, a JVM that was killed.
    """
    # these two log a traceback of the error that is printed below
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    AccumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]  # the next call has a better message
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # a child of spark-submit's JVM, which a scheduler may kill
        end_with_parent()
    start = time.perf_counter()
    try:
        if isinstance(result := main(None), int):
            print(summary(main, result, time.perf_counter() - start), flush=True)
    except ValueError as error:
        code = f" [{error.code}]" if isinstance(error, DayStopped) else ""
        print(f"error{code}: {error}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(error, TEMPORARY) else USER_ERROR)
    except Exception as error:
        if (line := user_message(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(TRY_AGAIN)


def summary(main: Callable[[Sequence[str] | None], object], count: int, seconds: float) -> str:
    """One line: the job, its day, what it counted, and the seconds. main: of a job whose arguments are sys.argv."""
    module = sys.modules[main.__module__]
    job = Path(str(module.__file__)).stem
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--ds")
    day = parser.parse_known_args()[0].ds
    table = re.match(r"([a-z_]+(?: and [a-z_]+)?): ", module.__doc__ or "")
    counted = COUNTED.get(job) or f"rows{f' in {table[1]}' if table else ''}"
    return f"{job}{f' {day}' if day else ''}: {count:,} {counted}, {seconds:.1f} s"
