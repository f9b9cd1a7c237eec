"""What a piece of work on Spark costs: seconds, CPU time of the JVM, its tasks and Python, bytes, the largest task."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.tables.process_tree import cpu_seconds_between, used


@dataclass(frozen=True)
class Cost:
    """cpu_seconds: of the JVM, which other processes disturb less than `seconds`.

    task_cpu_seconds: the part of it in tasks; the rest is the JVM's compilation, planning and garbage collection.
    python_cpu_seconds: of the driver, of Python's workers and of the trainer. largest_task_seconds: the longest task.
    spilled_bytes: what tasks wrote to disk because they had no memory for it. read_rows: of files.
    """

    seconds: float
    cpu_seconds: float
    task_cpu_seconds: float
    python_cpu_seconds: float
    shuffled_bytes: float
    spilled_bytes: float
    largest_task_seconds: float
    read_rows: float
    read_bytes: float


@dataclass(frozen=True)
class StageCost:
    """What the tasks of a stage cost."""

    cpu_seconds: float
    shuffled_bytes: int
    spilled_bytes: int
    read_rows: int
    read_bytes: int


def cost(spark: SparkSession, work: Callable[[], object]) -> Cost:
    """What `work` costs."""
    before, jvm = _stages(spark), jvm_pid(spark)
    began, cpu, python = time.perf_counter(), cpu_seconds(spark), used(jvm)
    work()
    seconds, cpu = time.perf_counter() - began, cpu_seconds(spark) - cpu
    python_cpu = cpu_seconds_between(python, used(jvm))
    new = {stage: measured for stage, measured in _stages(spark).items() if stage not in before}
    return Cost(
        seconds,
        cpu,
        sum(stage.cpu_seconds for stage in new.values()),
        python_cpu,
        sum(stage.shuffled_bytes for stage in new.values()),
        sum(stage.spilled_bytes for stage in new.values()),
        max((_largest_task_seconds(spark, *stage) for stage in new), default=0.0),
        sum(stage.read_rows for stage in new.values()),
        sum(stage.read_bytes for stage in new.values()),
    )


def jvm_pid(spark: SparkSession) -> int:
    jvm: Any = spark._jvm
    return int(jvm.java.lang.ProcessHandle.current().pid())


def cpu_seconds(spark: SparkSession) -> float:
    """The CPU time that the JVM has used since it started."""
    jvm: Any = spark._jvm
    return float(jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis()) / 1_000


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(*(statistics.median(getattr(c, figure.name) for c in costs) for figure in fields(Cost)))


def _stages(spark: SparkSession) -> Mapping[tuple[int, int], StageCost]:
    """What each of the last stages cost, by its number and attempt."""
    gateway: Any = spark.sparkContext._gateway
    context = spark._jsc.sc()
    context.listenerBus().waitUntilEmpty()  # the store learns of tasks a little later than their job ends
    nothing = gateway.jvm.java.util.ArrayList()
    quantiles = gateway.new_array(gateway.jvm.double, 0)
    found = context.statusStore().stageList(nothing, False, False, quantiles, nothing).iterator()
    measured: dict[tuple[int, int], StageCost] = {}
    while found.hasNext():
        stage = found.next()
        measured[int(stage.stageId()), int(stage.attemptId())] = StageCost(
            int(stage.executorCpuTime()) / 1e9,
            int(stage.shuffleWriteBytes()),
            int(stage.diskBytesSpilled()),
            int(stage.inputRecords()),
            int(stage.inputBytes()),
        )
    return measured


def _largest_task_seconds(spark: SparkSession, stage: int, attempt: int) -> float:
    """The run time of the longest task of a stage; 0 for a stage that was skipped."""
    gateway: Any = spark.sparkContext._gateway
    highest = gateway.new_array(gateway.jvm.double, 1)
    highest[0] = 1.0
    summary = spark._jsc.sc().statusStore().taskSummary(stage, attempt, highest)
    return float(summary.get().executorRunTime().apply(0)) / 1_000 if summary.isDefined() else 0.0
