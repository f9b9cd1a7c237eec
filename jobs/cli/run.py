"""Runs a job as a program: a known error becomes one line on stderr and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from pyspark.accumulators import AccumulatorServer
from pyspark.logger import PySparkLogger

from jobs.lake.errors import DiskFull, WriteConflict, user_message
from jobs.raw_log.preconditions import DayStopped
from model.training.processes.parent_process import end_with_parent

USER_ERROR = 2  # the same command would fail again
TRY_AGAIN = 75  # EX_TEMPFAIL: the same command may succeed later
TEMPORARY = (WriteConflict, DiskFull)  # ValueErrors that end a job with TRY_AGAIN


def run(main: Callable[[Sequence[str] | None], object]) -> None:
    """Run a job's `main` and exit: errors that are not bugs are printed as one line, without a traceback.

    Exit code USER_ERROR: a wrong argument, wrong data, or a day that stops on purpose. TRY_AGAIN: another writer, a
    full disk, an unresponsive store, a JVM that was killed.
    """
    # these two log a traceback of the error that is printed below
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    AccumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]  # the next call has a better message
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # a child of spark-submit's JVM, which a scheduler may kill
        end_with_parent()
    try:
        main(None)
    except ValueError as error:
        code = f" [{error.code}]" if isinstance(error, DayStopped) else ""
        print(f"error{code}: {error}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(error, TEMPORARY) else USER_ERROR)
    except Exception as error:
        if (line := user_message(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(TRY_AGAIN)
