"""Opens the lake that is given by the arguments of a job."""

from __future__ import annotations

import argparse

from pyspark import SparkContext
from pyspark.sql import SparkSession

from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.files import NoSuchLake, has_tables
from jobs.lake.integrity.log_store import require_safe_commits
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.lake.snapshots import can_read_without_spark, is_local
from jobs.tuning.adoption.records import configuration_of_day, overlay_of_day

SMALL_DAY_ROWS = 250_000  # up to here, settings for little data are faster


def open_lake(
    args: argparse.Namespace,
    name: str,
    *,
    written: str | None = None,
    opens_once: bool = True,
    must_exist: bool = True,
    uses_adopted: bool = False,
) -> tuple[Lake, Config]:
    """The lake and the configuration, those of the variant if `--variant` is given.

    Spark starts when it is first needed, but at once for a lake that is not on a local disk. name: of the Spark
    application. written: the lake to which the job writes, if it is not `--lake`. opens_once: as in `Lake`; False for
    jobs that change tables without it. The start raises UnsafeLogStore if concurrent drivers could overwrite each
    other's commits. must_exist: raise NoSuchLake if the folder has no table; False for jobs that make a lake or wait
    for one. uses_adopted: whether settings of a search with which the day `--ds` was decided to run
    (jobs/tuning/adoption/) override the configuration, as if their file was the last `--config`; for jobs that read a
    key that is searched. Raises ValueError if these settings became invalid; other jobs run nevertheless.
    """
    variant = getattr(args, "variant", None)
    config = load_config(*args.config).with_variant(variant)

    def start() -> SparkSession:
        spark = spark_session(name, args.master, small_days=are_days_small(args, config))
        require_safe_commits(spark, written or args.lake, single_driver=config.lake.single_driver)
        return spark

    lake = Lake(start, args.lake, variant, opens_once=opens_once)
    if not is_local(args.lake):
        _ = lake.spark  # an unsafe store is refused before it is read
    if must_exist and not has_tables(args.lake, lambda: lake.spark):
        raise NoSuchLake(args.lake)
    if uses_adopted and (adopted := overlay_of_day(lake, args.ds)) is not None:
        config = configuration_of_day(args.config, adopted, args.ds).with_variant(variant)
    return lake, config


def are_days_small(args: argparse.Namespace, config: Config) -> bool:
    """Whether the days `--ds` to `--last` have landed with few rows, from the logs of their tables.

    Counts the impressions and the rows of the user and item snapshots, each of the day and of the day before, because
    the day's snapshots may not be built yet. False if Spark runs, whose settings are chosen, and for a lake that only
    Spark can read.
    """
    # a session is not active in a thread that did not start it
    if SparkContext._active_spark_context is not None or args.ds is None or not can_read_without_spark(args.lake):
        return False
    lake = Lake(_no_session, args.lake, opens_once=True)
    counted = (tables.IMPRESSIONS, tables.user_snapshot(config), tables.item_snapshot(config))
    try:
        days = days_between(args.ds, getattr(args, "last", None) or args.ds)
        landed = [lake.row_count(tables.IMPRESSIONS, day) for day in days]
        sizes = [sum(of.rows for table in counted if (of := lake.days_of(table, day, 2)) is not None) for day in days]
    except (ValueError, OSError):  # a table is damaged or has other columns: the job that reads it says so
        return False
    return any(landed) and max(sizes) <= SMALL_DAY_ROWS


def _no_session() -> SparkSession:
    raise ValueError("a lake that is measured without Spark must be one that delta-rs can read")
