"""Restore the last whole version of a table whose `_delta_log` is damaged.

Moves the first damaged commit and all later ones, damaged checkpoints and a damaged `_last_checkpoint` into the folder
_damaged_log_N of the table, which Delta and VACUUM ignore. Deletes nothing. Prints which days are lost and must be run
again.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import partial

from pyspark.sql import SparkSession

from jobs.cli.arguments import add_output
from jobs.cli.run import run
from jobs.lake.integrity.delta_log import DeltaLog
from jobs.lake.integrity.hadoop_log import can_read_checkpoint, move_away, read_log
from jobs.lake.integrity.repair import describe, plan_repair
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="folder of all tables: a path or any Hadoop URI")
    parser.add_argument("--table", required=True, help="name of the table: its folder in the lake")
    parser.add_argument("--variant", help="repair the table of this variant's model")
    parser.add_argument("--dry-run", action="store_true", help="print what would be moved, and move nothing")
    parser.add_argument("--master", help="Spark master of an embedded session (default: local[*])")
    add_output(parser)
    return parser


def table_log(spark: SparkSession, uri: str, name: str, variant: str | None) -> DeltaLog:
    """The log of a table of the lake. Raises ValueError if a name is malformed or there is no such table."""
    if bad := [part for part in (name, variant or "main") if not re.fullmatch(r"[A-Za-z0-9_-]+", part)]:
        raise ValueError(f"--table and --variant must be names of letters, digits, _ and -, got {bad[0]!r}")
    lake = Lake(spark, uri, variant)
    path = lake.path(name) if variant is None else lake.model_path(name)
    log = read_log(spark, path)
    if log is None:
        raise ValueError(f"there is no table {name} in {path}")
    return log


def repair(spark: SparkSession, log: DeltaLog, *, dry_run: bool = False) -> int:
    """Repair a table and print what was done; returns the number of files that were moved, or would be."""
    plan = plan_repair(log, partial(can_read_checkpoint, spark, log.table))
    if plan is None:
        say(f"nothing to repair in {log.table}")
        return 0
    say(describe(log.table, plan))
    done = "would be moved" if dry_run else f"moved to {move_away(spark, log.table, plan.files)}"
    say(f"{done}: {', '.join(sorted(plan.files))}")
    return len(plan.files)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    spark = spark_session("repair_table", args.master)
    return repair(spark, table_log(spark, args.lake, args.table, args.variant), dry_run=args.dry_run)


if __name__ == "__main__":
    run(main)
