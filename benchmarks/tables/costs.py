"""What a piece of work on Spark costs: seconds, CPU time of the JVM and of its tasks, bytes that are shuffled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Cost:
    """cpu_seconds: of the JVM, which other processes disturb less than `seconds`.

    task_cpu_seconds: the part of it in tasks; the rest is the JVM's compilation, planning and garbage collection.
    """

    seconds: float
    cpu_seconds: float
    task_cpu_seconds: float
    shuffled_bytes: float


def cost(spark: SparkSession, work: Callable[[], object]) -> Cost:
    """What `work` costs."""
    began, cpu, before = time.perf_counter(), cpu_seconds(spark), _stages(spark)
    work()
    seconds, cpu = time.perf_counter() - began, cpu_seconds(spark) - cpu
    new = [measured for stage, measured in _stages(spark).items() if stage not in before]
    return Cost(seconds, cpu, sum(tasks for tasks, _ in new), sum(shuffled for _, shuffled in new))


def cpu_seconds(spark: SparkSession) -> float:
    """The CPU time that the JVM has used since it started."""
    jvm: Any = spark._jvm
    return float(jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis()) / 1_000


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each of the four."""
    return Cost(
        statistics.median(c.seconds for c in costs),
        statistics.median(c.cpu_seconds for c in costs),
        statistics.median(c.task_cpu_seconds for c in costs),
        statistics.median(c.shuffled_bytes for c in costs),
    )


def _stages(spark: SparkSession) -> dict[int, tuple[float, int]]:
    """The CPU seconds of the tasks of each of the last stages, and the bytes that it has shuffled, by its number."""
    gateway: Any = spark.sparkContext._gateway
    nothing = gateway.jvm.java.util.ArrayList()
    quantiles = gateway.new_array(gateway.jvm.double, 0)
    store = spark._jsc.sc().statusStore()
    found = store.stageList(nothing, False, False, quantiles, nothing).iterator()
    measured: dict[int, tuple[float, int]] = {}
    while found.hasNext():
        stage = found.next()
        measured[int(stage.stageId())] = int(stage.executorCpuTime()) / 1e9, int(stage.shuffleWriteBytes())
    return measured
