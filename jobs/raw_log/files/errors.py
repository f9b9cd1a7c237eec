"""Errors of files that Spark cannot read: one line for the user, without Spark's own messages before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.captured import CapturedException

from jobs.lake.errors import user_message

LOGGERS = (  # what they say of a task that fails stands before the line for the user
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler.TaskSetManager",
)
LONGEST_MESSAGE = 300  # characters
NO_ROW = "the file has no row"


@contextmanager
def file_errors(message: str) -> Iterator[None]:
    """Turn Spark's exceptions on a file that it cannot read into a ValueError of one line, which begins with `message`.

    What the environment caused (a full disk, a store that does not respond, a lost executor) is raised as it is: it is
    no fault of the file. Inside the block Spark does not log tasks that fail: its errors would stand before that line.
    """
    try:
        with _silent():
            yield
    except (PySparkException, Py4JJavaError) as error:
        if user_message(error) is not None:
            raise
        raise ValueError(f"{message}: {_reason(error)}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """The driver's log without LOGGERS until the block ends."""
    context = SparkContext._active_spark_context
    if context is None:
        yield
        return
    jvm: Any = context._jvm
    log4j = jvm.org.apache.logging.log4j
    levels = {name: log4j.LogManager.getLogger(name).getLevel() for name in LOGGERS}
    set_level = log4j.core.config.Configurator.setLevel
    for name in LOGGERS:
        set_level(name, log4j.Level.OFF)
    try:
        yield
    finally:
        for name, level in levels.items():
            set_level(name, level)


def _reason(error: PySparkException | Py4JJavaError) -> str:
    """The first line of the message of the exception's first cause, which names what is wrong with the file."""
    origin = error.java_exception if isinstance(error, Py4JJavaError) else None
    if isinstance(error, CapturedException):
        origin = error._origin
    text = str(error)
    while origin is not None:
        text, origin = origin.getMessage() or text, origin.getCause()
    return (text.strip() or type(error).__name__).splitlines()[0][:LONGEST_MESSAGE]
