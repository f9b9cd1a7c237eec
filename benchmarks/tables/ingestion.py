"""Rows per second of `ingest_logs`, compared with bare Spark that reads the same columns and writes them to Delta.

A day of impressions in two files of each format. Bare Spark is given the types of the columns, and checks nothing. Both
take turns in one session, which is warm after the first round. CPU time of the JVM, and of its tasks alone, says how
much work each is, also on a machine that others use.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.tables.costs import cost, median
from jobs import ingest_logs
from jobs.lake import tables
from jobs.lake.session import spark_session

DAY = dt.date(2026, 1, 1)
FORMATS = {"parquet": "parquet", "csv": "csv", "jsonl": "json"}  # name of Spark's reader
COLUMNS = (
    "concat('impression-', id) as impression_id",
    "concat('request-', id div 10) as request_id",
    "concat('user-', id * 7919 % 50000) as user_id",
    "concat('item-', id * 104729 % 20000) as item_id",
    "cast(id % 10 + 1 as int) as position",
    "timestamp_seconds(1767225600 + id % 80000) as impressed_at",
)


def write_log(spark: SparkSession, folder: str, rows: int) -> None:
    """The same impressions in each format."""
    log = spark.range(rows).selectExpr(*COLUMNS).coalesce(2)
    for name, writer in FORMATS.items():
        log.write.format(writer).option("header", True).save(f"{folder}/log.{name}")


def bare(spark: SparkSession, folder: str, name: str) -> DataFrame:
    schema = tables.IMPRESSIONS.pick(*(column for column in tables.IMPRESSIONS.columns if column != "ds"))
    rows = spark.read.schema(schema).option("header", True).format(FORMATS[name]).load(f"{folder}/log.{name}")
    return rows.selectExpr(f"date'{DAY}' as ds", "*")


def _compared(job: float, plain: float) -> str:
    return f"{job:.1f} | {plain:.1f} | {plain / job if job else 0:.2f}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000, help="impressions of the day (default 3,000,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, help="only these")
    args = parse(parser, argv, rows=500, rounds=1)
    spark = spark_session("ingestion")
    with tempfile.TemporaryDirectory(prefix="ingestion-") as folder:
        write_log(spark, folder, args.rows)
        print(f"\n{args.rows:,} impressions\n")
        print(
            "| format | rows a second | bare | ratio (at least .5) | CPU s | bare | ratio | of tasks | bare | ratio |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in args.formats or FORMATS:
            command = ["--lake", f"{folder}/lake", "--ds", str(DAY), "--impressions", f"{folder}/log.{name}"]

            def write_bare(name: str = name) -> None:
                writer = bare(spark, folder, name).write.format("delta").partitionBy("ds").mode("overwrite")
                writer.option("overwriteSchema", True).save(f"{folder}/bare")

            jobs, plains = [], []
            for _ in range(args.rounds + 1):
                jobs.append(cost(spark, lambda line=command: ingest_logs.main(line)))  # type: ignore[misc]
                plains.append(cost(spark, write_bare))
            job, plain = median(jobs[1:]), median(plains[1:])  # the first round warms up
            rates = " | ".join(f"{args.rows / each.seconds:,.0f}" for each in (job, plain))
            cpu = _compared(job.cpu_seconds, plain.cpu_seconds)
            tasks = _compared(job.task_cpu_seconds, plain.task_cpu_seconds)
            print(f"| {name} | {rates} | {plain.seconds / job.seconds:.2f} | {cpu} | {tasks} |", flush=True)


if __name__ == "__main__":
    main()
