"""Opens the lake that is given by the arguments of a job."""

from __future__ import annotations

import argparse

from jobs.config.loading import Config, load_config
from jobs.lake.integrity.log_store import require_safe_commits
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session


def open_lake(
    args: argparse.Namespace, name: str, *, small_days: bool = False, written: str | None = None
) -> tuple[Lake, Config]:
    """Start Spark; returns the lake and the configuration, those of the variant if `--variant` is given.

    name: of the Spark application. small_days: as in `spark_session`. written: the lake to which the job writes, if
    it is not `--lake`. Raises UnsafeLogStore if concurrent drivers could overwrite each other's commits there.
    """
    variant = getattr(args, "variant", None)
    config = load_config(args.config).with_variant(variant)
    spark = spark_session(name, args.master, small_days=small_days)
    require_safe_commits(spark, written or args.lake, single_driver=config.lake.single_driver)
    return Lake(spark, args.lake, variant), config
