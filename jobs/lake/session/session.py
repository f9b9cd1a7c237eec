"""The Spark session of a job: embedded and local by default, that of a cluster under spark-submit or `--master`."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from jobs.lake.errors import JvmNotStarted
from jobs.lake.session.java import SparkNotStarted, require_java
from jobs.lake.session.jvm_output import jvm_output
from jobs.lake.session.settings import (
    DELTA_DEFAULTS,
    SETTINGS,
    SMALL_DAYS_SETTINGS,
    apply_defaults,
    embedded_settings,
    local_settings,
)

APPLICATIONS: set[str] = set()  # ids of the Spark applications whose defaults this process has set


def spark_session(name: str, master: str | None = None, *, small_days: bool = False) -> SparkSession:
    """The running session, or a new one. The call is the same under `python -m`, spark-submit and run_day.

    name: of the application. small_days: optimise for little data, which slows large data down; ignored if
    this process has opened the session before. Raises SparkNotStarted without Java, or without Delta's JARs, and
    JvmNotStarted if the JVM ends for another reason.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        master = master or "local[*]"
        builder = builder.master(master)
        if master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        for key, value in embedded_settings(master, small_days=small_days).items():
            builder = builder.config(key, value)
    with jvm_output(), _start_errors():
        spark = builder.getOrCreate()
    if spark.sparkContext.applicationId not in APPLICATIONS:
        _prepare(spark, small_days=small_days)
        APPLICATIONS.add(spark.sparkContext.applicationId)
    return spark


@contextmanager
def _start_errors() -> Iterator[None]:
    """If the JVM ends before it answers: SparkNotStarted if Java is missing or too old, else JvmNotStarted."""
    try:
        yield
    except PySparkRuntimeError as error:
        if error.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        require_java()
        raise JvmNotStarted(
            "the JVM of Spark must start, got one that ended before it answered; its own message is on stderr"
        ) from error


def _prepare(spark: SparkSession, *, small_days: bool) -> None:
    """Check a new session and set its defaults."""
    _require_delta(spark)
    master = str(spark.sparkContext.master)
    cores = spark.sparkContext.defaultParallelism
    local = local_settings(cores, small_days=small_days) if master.startswith("local") else {}
    apply_defaults(spark, DELTA_DEFAULTS | local | (SMALL_DAYS_SETTINGS if small_days else {}))
    if master.startswith("local-cluster"):
        atexit.register(spark.stop)  # its workers are in the driver's JVM, and would restart executors during its exit


def _require_delta(spark: SparkSession) -> None:
    loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    if loader.getResource("io/delta/sql/DeltaSparkSessionExtension.class") is None:
        raise SparkNotStarted(
            "Delta's JARs must be on the class path: run `make`, or pass --packages io.delta:delta-spark_2.13:4.0.1"
        )
