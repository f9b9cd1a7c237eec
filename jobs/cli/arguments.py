"""The arguments that are common to all jobs, and their types."""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from jobs.cli.advice import Advice, advice_for
from jobs.cli.advice import fields as advice_fields
from jobs.cli.advice import lines as advice_lines
from jobs.config.loading import load_config
from model.registry import did_you_mean
from model.training.processes.lines import FORMAT, FORMATS, USER_ERROR, VERBOSE, say


class Parser(argparse.ArgumentParser):
    """A job's parser: the docstring is its help, the configuration is validated, an error names the nearest option."""

    def __init__(self, doc: str | None) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        parsed = super().parse_args(args, namespace)
        try:
            load_config(*parsed.config)
        except ValueError as error:
            self.error(f"argument --config: {error}", advice_for(error))
        return parsed

    def error(self, message: str, advice: Advice | None = None) -> NoReturn:
        """Print the message, what to do and where it is documented, or how to see the usage, and exit with code 2."""
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized arguments") and unknown:
            message += did_you_mean(unknown[0], self._option_string_actions)
        # not the usage itself: seven lines of it hide the message
        after = advice_lines(advice) or ["  --help shows all arguments"]
        text = "\n".join([f"{self.prog}: error: {message}", *after])
        say(message, level="error", text=text, exit_code=USER_ERROR, **advice_fields(advice))
        sys.exit(USER_ERROR)


def job_parser(doc: str | None, *, variant: bool = False, needs_day: bool = True, needs_lake: bool = True) -> Parser:
    """A parser of `--lake --ds --config --master` (and `--variant`) with the job's docstring as its help."""
    parser = Parser(doc)
    parser.add_argument("--lake", required=needs_lake, help="folder of all tables: a path or any Hadoop URI")
    parser.add_argument("--ds", required=needs_day, type=day_argument, help="logical day, YYYY-MM-DD")
    add_config(parser)
    if variant:
        parser.add_argument("--variant", help="work on the model of [variants.NAME] instead of the main one")
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML file whose values override recall.toml, or the name of a packed one (movielens); can be given "
        "several times, later ones win",
    )
    parser.add_argument(
        "--master", help="Spark master of an embedded session (default: local[*]; ignored under spark-submit)"
    )
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """The arguments --log-format and --verbose, which `run` in jobs/cli/run.py applies before the job starts."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--log-format",
        choices=FORMATS,
        help=f"lines for people, or JSON lines for programs (default: {FORMAT}, or text)",
    )
    group.add_argument(
        "--verbose", action="store_true", help=f"show what Spark and other libraries log, too (or {VERBOSE}=1)"
    )


def shared_arguments(args: argparse.Namespace) -> list[str]:
    """--lake and --config, in the form in which a job passes them on to the jobs that it runs."""
    return ["--lake", args.lake, *(text for overlay in args.config for text in ("--config", overlay))]


def day_argument(text: str) -> dt.date:
    """A logical day, YYYY-MM-DD, as an argparse type."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError("wrong shape")
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a day YYYY-MM-DD, got {text!r}") from error


def count_argument(text: str) -> int:
    """A positive integer, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def time_argument(text: str) -> dt.datetime:
    """An ISO 8601 time with its UTC offset, as an argparse type."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be an ISO 8601 time, got {text!r}") from error
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"must have a UTC offset, as in 2026-01-31T06:00:00Z, got {text!r}")
    return time
