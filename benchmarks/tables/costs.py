"""What a piece of work on Spark costs: seconds, CPU time of the JVM, bytes that are shuffled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Cost:
    """cpu_seconds: of the JVM, which other processes disturb less than `seconds`."""

    seconds: float
    cpu_seconds: float
    shuffled_bytes: float


def cost(spark: SparkSession, work: Callable[[], object]) -> Cost:
    """What `work` costs."""
    began, cpu, stages = time.perf_counter(), cpu_seconds(spark), _shuffled(spark)
    work()
    seconds, cpu = time.perf_counter() - began, cpu_seconds(spark) - cpu
    shuffled = sum(size for stage, size in _shuffled(spark).items() if stage not in stages)
    return Cost(seconds, cpu, shuffled)


def cpu_seconds(spark: SparkSession) -> float:
    """The CPU time that the JVM has used since it started."""
    jvm: Any = spark._jvm
    return float(jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis()) / 1_000


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each of the three."""
    return Cost(
        statistics.median(c.seconds for c in costs),
        statistics.median(c.cpu_seconds for c in costs),
        statistics.median(c.shuffled_bytes for c in costs),
    )


def _shuffled(spark: SparkSession) -> dict[int, int]:
    """The bytes that each of the last stages has written for a shuffle, by number of the stage."""
    gateway: Any = spark.sparkContext._gateway
    nothing = gateway.jvm.java.util.ArrayList()
    quantiles = gateway.new_array(gateway.jvm.double, 0)
    store = spark._jsc.sc().statusStore()
    found = store.stageList(nothing, False, False, quantiles, nothing).iterator()
    sizes: dict[int, int] = {}
    while found.hasNext():
        stage = found.next()
        sizes[int(stage.stageId())] = int(stage.shuffleWriteBytes())
    return sizes
