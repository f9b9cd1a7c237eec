"""What a process prints: lines of text for people, or one JSON object a line for programs (docs/operations.md).

Variables of the environment decide, so a process that another one starts prints in the same form.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

FORMATS = ("text", "json")
FORMAT, VERBOSE = "BATCH_RECALL_LOG_FORMAT", "BATCH_RECALL_VERBOSE"  # text | json; 0 | 1
JVM_LEVEL = "BATCH_RECALL_JVM_LEVEL"  # of jobs/lake/session/log4j2.properties
JVM_LEVELS = ("error", "off", "fatal", "warn", "info", "debug", "trace", "all")  # the first one is the default
JOB, DAY = "BATCH_RECALL_JOB", "BATCH_RECALL_DS"  # what the fields `job` and `ds` of a JSON line say
# Of processes that this one starts: warnings of Python, of torchrun, and of torch.
QUIET = {"PYTHONWARNINGS": "ignore", "LOGLEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR"}
# Exit codes: a bug, an error that comes again, and Ctrl-C, as shells have it.
CRASH, USER_ERROR, INTERRUPTED = 1, 2, 130
_hidden: list[bool] = []  # of each `library_output` that this is inside of, whether it hides what libraries log


def is_json() -> bool:
    return os.environ.get(FORMAT) == "json"


def is_verbose() -> bool:
    return os.environ.get(VERBOSE) == "1"


def require_known_variables() -> None:
    """Raises ValueError if a variable has an unknown value."""
    for name, values in ((FORMAT, FORMATS), (VERBOSE, ("0", "1"))):
        if (value := os.environ.get(name) or values[0]) not in values:
            raise ValueError(f"{name} must be {' or '.join(values)}, got {value!r}")
    if (level := os.environ.get(JVM_LEVEL) or JVM_LEVELS[0]).lower() not in JVM_LEVELS:
        raise ValueError(f"{JVM_LEVEL} must be {' or '.join(JVM_LEVELS)}, got {level!r}")


@contextmanager
def output_form(form: str | None, *, verbose: bool) -> Iterator[None]:
    """Print in this form, here and in processes that are started meanwhile; None: as the environment says."""
    chosen = {FORMAT: form} if form in FORMATS else {}
    with _variables({**chosen, **({VERBOSE: "1"} if verbose else {})}):
        yield


def say(message: str, *, level: str = "info", text: str | None = None, **fields: Any) -> None:
    """Print a message: errors on stderr, all else on stdout.

    level: info | warning | error. text: the form for people, if it differs from `message`. fields: for programs.
    """
    line = json_line(message, level, fields) if is_json() else message if text is None else text
    print(line, file=sys.stderr if level == "error" else sys.stdout, flush=True)


def warn(message: str, *, stream: TextIO | None = None, **fields: Any) -> None:
    """Print a warning, to stdout if no stream is given."""
    line = json_line(message, "warning", fields) if is_json() else f"warning: {message}"
    print(line, file=stream or sys.stdout, flush=True)


def json_line(message: str, level: str, fields: Mapping[str, object] | None = None) -> str:
    """A JSON object on one line: `time` (UTC), `level`, `job`, `ds`, `message`, and `fields`; NaN becomes null."""
    time = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    context = {"job": os.environ.get(JOB) or None, "ds": os.environ.get(DAY) or None}
    line = {"time": time, "level": level, **context, "message": message, **(fields or {})}
    return json.dumps(_finite(line), default=str)


def _finite(value: object) -> object:
    """The value with None for each NaN and infinity in it, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def lines_of(job: str, day: object = None) -> Iterator[None]:
    """Lines of JSON name this job and its day, also those of processes that are started meanwhile."""
    with _variables({JOB: job, DAY: "" if day is None else str(day)}):
        yield


@contextmanager
def crashes_as_lines() -> Iterator[None]:
    """End the process at an unexpected error or Ctrl-C: in JSON by a line with its traceback, else as Python does."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not is_json():
            raise
        code = CRASH if isinstance(error, Exception) else INTERRUPTED
        message = f"{type(error).__name__}: {error}".removesuffix(": ")
        say(message, level="error", exit_code=code, traceback=traceback.format_exc())
        sys.exit(code)


@contextmanager
def library_output() -> Iterator[None]:
    """Hide what libraries log below errors, here and in processes that are started meanwhile; show it if VERBOSE is 1.

    Raises ValueError if a variable of the environment has an unknown value.
    """
    require_known_variables()
    root, handler = logging.getLogger(), _handler()
    root.addHandler(handler)
    level, disabled = root.level, root.manager.disable
    _hidden.append(not is_verbose())
    try:
        if is_verbose():
            root.setLevel(logging.INFO)
            with _variables({JVM_LEVEL: os.environ.get(JVM_LEVEL, "info")}):
                yield
            return
        logging.disable(max(disabled, logging.WARNING))  # whatever handlers and levels a library sets
        given = {name: os.environ.get(name, value) for name, value in QUIET.items()}
        with warnings.catch_warnings(), _variables(given):
            warnings.simplefilter("ignore")
            yield
    finally:
        _hidden.pop()
        logging.disable(disabled)
        root.setLevel(level)
        root.removeHandler(handler)


def hides_library_output() -> bool:
    """Whether this is inside of `library_output`, and not verbose."""
    return bool(_hidden) and _hidden[-1]


def _handler() -> logging.Handler:
    handler: logging.Handler = logging.StreamHandler()
    if is_json():
        handler = _JsonHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler


class _JsonHandler(logging.Handler):
    """Prints what a library logs as a line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        level = (
            "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "info"
        )
        print(json_line(self.format(record), level, {"logger": record.name}), file=sys.stderr, flush=True)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
