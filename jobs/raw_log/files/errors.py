"""Errors of files that Spark cannot read: one line for the user, without Spark's own messages before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.captured import CapturedException

LOGGER = "org.apache.spark"
LONGEST_MESSAGE = 300  # characters


@contextmanager
def file_errors(message: str) -> Iterator[None]:
    """Turn Spark's exceptions on a file that it cannot read into a ValueError of one line, which begins with `message`.

    Inside the block Spark logs nothing: its errors would stand before that line.
    """
    try:
        with _silent():
            yield
    except (PySparkException, Py4JJavaError) as error:
        raise ValueError(f"{message}: {_reason(error)}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Spark's log on the driver, switched off until the block ends."""
    context = SparkContext._active_spark_context
    if context is None:
        yield
        return
    jvm: Any = context._jvm
    logger = jvm.org.apache.logging.log4j.LogManager.getLogger(LOGGER)
    level, set_level = logger.getLevel(), jvm.org.apache.logging.log4j.core.config.Configurator.setLevel
    set_level(LOGGER, jvm.org.apache.logging.log4j.Level.OFF)
    try:
        yield
    finally:
        set_level(LOGGER, level)


def _reason(error: PySparkException | Py4JJavaError) -> str:
    """The first line of the message of the exception's first cause, which names what is wrong with the file."""
    origin = error.java_exception if isinstance(error, Py4JJavaError) else None
    if isinstance(error, CapturedException):
        origin = error._origin
    text = str(error)
    while origin is not None:
        text, origin = origin.getMessage() or text, origin.getCause()
    return (text.strip() or type(error).__name__).splitlines()[0][:LONGEST_MESSAGE]
