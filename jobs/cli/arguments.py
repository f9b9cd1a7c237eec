"""The command line that all jobs share, and how a job ends."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import sys
from collections.abc import Callable, Sequence

from pyspark.accumulators import AccumulatorServer

from jobs.config.loading import Config, config_argument, load_config
from jobs.lake.errors import DiskFull, WriteConflict, told
from jobs.lake.integrity.log_store import require_safe_commits
from jobs.lake.partitions import Lake, day_argument
from jobs.lake.session import spark_session
from jobs.raw_log.preconditions import DayStopped
from model.training.parent_process import end_with_parent

TRY_AGAIN = 75  # EX_TEMPFAIL: the same command may end well later


def job_parser(doc: str | None, *, variant: bool = False, needs_day: bool = True) -> argparse.ArgumentParser:
    """`--lake --ds --config` (and `--variant`) with the job's docstring as its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="folder of all tables: a path or any Hadoop URI")
    parser.add_argument("--ds", required=needs_day, type=day_argument, help="logical day, YYYY-MM-DD")
    add_config(parser)
    if variant:
        parser.add_argument("--variant", help="work on the model of [variants.NAME] instead of the main one")
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=config_argument, help="TOML file laid over recall.toml")
    parser.add_argument(
        "--master", help="Spark master of an embedded session (default local[*]; spark-submit brings its own)"
    )


def count_argument(text: str) -> int:
    """A whole number from 1 on, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wants a whole number from 1, got {text!r}")
    return int(text)


def at_argument(text: str) -> dt.datetime:
    """A time to record, ISO 8601 with its offset, as an argparse type."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"wants an ISO 8601 time, got {text!r}") from error
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"wants a time with its offset, as in 2026-01-31T06:00:00Z, got {text!r}")
    return time


def now() -> dt.datetime:
    """The one place that reads the clock; logic gets times as arguments."""
    return dt.datetime.now(dt.UTC)


def open_lake(
    args: argparse.Namespace, name: str, *, small_days: bool = False, written: str | None = None
) -> tuple[Lake, Config]:
    """The lake and the (variant's) configuration that the arguments name; small_days as for `spark_session`.

    Raises UnsafeLogStore where another driver's commits could be overwritten, in the lake or, where the job writes
    another one, in the one that is `written`.
    """
    variant = getattr(args, "variant", None)
    config = load_config(args.config).of_variant(variant)
    spark = spark_session(name, args.master, small_days=small_days)
    require_safe_commits(spark, written or args.lake, single_driver=config.lake.single_driver)
    return Lake(spark, args.lake, variant), config


def run(main: Callable[[Sequence[str] | None], object]) -> None:
    """Run a job as a program: what is no fault of its own is one line on stderr, never a torn table.

    Exit code 2 is a user's error, or a day that stops on purpose: it would end so again. 75 (TRY_AGAIN) is another
    writer, a full disk, a store that is silent, a JVM that was killed.
    """
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it logs, with its traceback, what is told below
    AccumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]  # the next call tells it better
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # a child of spark-submit's JVM, which a scheduler may kill
        end_with_parent()
    try:
        main(None)
    except ValueError as error:
        code = f" [{error.code}]" if isinstance(error, DayStopped) else ""
        print(f"error{code}: {error}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(error, WriteConflict | DiskFull) else 2)
    except Exception as error:
        if (line := told(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(TRY_AGAIN)
