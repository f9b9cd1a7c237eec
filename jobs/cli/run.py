"""Runs a job as a program: a known error becomes a message on stderr and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

from pyspark.accumulators import AccumulatorServer
from pyspark.logger import PySparkLogger
from rich.console import Console

from jobs.cli.advice import CLASSES, ENVIRONMENT, Advice, advice_for
from jobs.cli.advice import fields as advice_fields
from jobs.cli.advice import lines as advice_lines
from jobs.cli.display import COUNTED, numbers
from jobs.cli.live import OWN_LINES, moving_line
from jobs.lake.errors import DiskFull, JvmNotStarted, TargetUnavailable, WriteConflict, is_full, user_message
from jobs.raw_log.preconditions import DayStopped
from jobs.tuning.lock import SearchIsRunning
from model.training.processes.lines import (
    USER_ERROR,
    crashes_as_lines,
    is_verbose,
    library_output,
    lines_of,
    output_form,
    say,
)
from model.training.processes.parent_process import end_with_parent

TRY_AGAIN = 75  # EX_TEMPFAIL: the same command may succeed later
# ValueErrors that end a job with TRY_AGAIN
TEMPORARY = (WriteConflict, DiskFull, SearchIsRunning, TargetUnavailable, JvmNotStarted)


def run(main: Callable[[Sequence[str] | None], object]) -> None:
    """Run a job's `main`, print what it did, and exit; errors that are not bugs are a message, without a traceback.

    Exit code USER_ERROR: a wrong argument, wrong data, or a day that stops on purpose. TRY_AGAIN: another writer or
    search, a full disk, an unresponsive store or target, a JVM that did not start or was killed.
    """
    # these three log a traceback of the error that is printed below; py4j does so by its logger and by the root logger
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(not_of_py4j)
    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    AccumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]  # the next call has a better message
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # a child of spark-submit's JVM, which a scheduler may kill
        end_with_parent()
    given, job = given_arguments(), name_of(main)
    start = time.perf_counter()
    with output_form(given.log_format, verbose=given.verbose), lines_of(job, given.ds), crashes_as_lines():
        try:
            with library_output(), nullcontext() if job in OWN_LINES else moving_line(Console(soft_wrap=True), job):
                result = main(None)
            if isinstance(result, int):
                say_summary(main, result, time.perf_counter() - start)
        except ValueError as error:
            fail(str(error), advice_for(error), TRY_AGAIN if isinstance(error, TEMPORARY) else USER_ERROR, error)
        except Exception as error:
            if (line := user_message(error)) is not None:
                fail(line, CLASSES["DiskFull"] if is_full(error) else ENVIRONMENT, TRY_AGAIN)
            raise


def not_of_py4j(record: logging.LogRecord) -> bool:
    """Whether a record is of a file outside the package py4j."""
    return "py4j" not in Path(record.pathname).parts


def name_of(main: Callable[[Sequence[str] | None], object]) -> str:
    """The name of a job: its file's, or the program's if its `main` is in no file (python -c)."""
    return Path(getattr(sys.modules[main.__module__], "__file__", None) or sys.argv[0]).stem


def given_arguments() -> argparse.Namespace:
    """--ds, --last, --log-format and --verbose of the command line, before the job's own parser checks them.

    What is wrong with them is left to that parser, which says it in the form of lines that was asked for.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for day in ("--ds", "--last"):
        parser.add_argument(day, nargs="?")
    parser.add_argument("--log-format", nargs="?")
    parser.add_argument("--verbose", action="store_true")
    try:
        return parser.parse_known_args()[0]
    except argparse.ArgumentError:  # --verbose=yes
        return argparse.Namespace(ds=None, last=None, log_format=None, verbose=False)


def fail(message: str, advice: Advice | None, exit_code: int, error: ValueError | None = None) -> NoReturn:
    """Print the error that is handled with its code, what to do and where it is documented, and exit.

    Its stack trace comes first if --verbose asks for it: a message such as "invalid literal for int()" may need one.
    """
    trace = {"traceback": traceback.format_exc()} if is_verbose() else {}
    code = {"code": error.code} if isinstance(error, DayStopped) else {}
    text = "\n".join([f"error{''.join(f' [{name}]' for name in code.values())}: {message}", *advice_lines(advice)])
    text = "".join([*trace.values(), text])
    say(message, level="error", text=text, **code, exit_code=exit_code, **advice_fields(advice), **trace)
    sys.exit(exit_code)


def say_summary(main: Callable[[Sequence[str] | None], object], count: int, seconds: float) -> None:
    """Print what a job did; programs get `rows` (or `count` of what `counted` names) and `seconds`."""
    say(summary(main, count, seconds), **numbers(name_of(main), count), seconds=round(seconds, 1))


def summary(main: Callable[[Sequence[str] | None], object], count: int, seconds: float) -> str:
    """One line: the job, its days, what it counted, and the seconds. main: of a job whose arguments are sys.argv."""
    job, given = name_of(main), given_arguments()
    days = f" {given.ds}{f' to {given.last}' if given.last not in (None, given.ds) else ''}" if given.ds else ""
    table = re.match(r"([a-z_]+(?: and [a-z_]+)?): ", sys.modules[main.__module__].__doc__ or "")
    counted = COUNTED.get(job) or f"rows{f' in {table[1]}' if table else ''}"
    return f"{job}{days}: {count:,} {counted}, {seconds:.1f} s"
