"""A small table whose log can be damaged, and its repair."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from jobs import repair_table
from jobs.lake import tables
from jobs.lake.integrity.hadoop_log import can_read_checkpoint, read_log
from jobs.lake.integrity.repair import RepairPlan, plan_repair
from jobs.lake.lake import Lake
from tests.jobs.lake.integrity.damages import day

TABLE = tables.UNCLICKED_ITEMS


def write(lake: Lake, version: int) -> None:
    rows = [(day(version), f"i{n}", n, n) for n in range(version + 1)]
    lake.overwrite(TABLE, day(version), lake.spark.createDataFrame(rows, TABLE.schema).coalesce(1))


def log_of(lake: Lake) -> Path:
    return Path(lake.table_path(TABLE)) / "_delta_log"


def run(lake: Lake, *more: str) -> int:
    return repair_table.main(["--lake", lake.uri, "--table", TABLE.name, *more])


def plan(spark: SparkSession, table: str) -> RepairPlan | None:
    log = read_log(spark, table)
    assert log
    return plan_repair(log, partial(can_read_checkpoint, spark, table))
