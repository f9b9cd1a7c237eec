"""Settings of Spark sessions: required ones, of a JVM that a job starts, and defaults for one machine and small days.

Defaults never replace a setting that the user gave: on the command line of spark-submit, in spark-defaults.conf, in
PYSPARK_SUBMIT_ARGS, or in the running session.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession

from jobs.lake.session.class_archive import reading_options

CODE = Path(__file__).resolve().parents[3]  # the checkout, site-packages, or the zip of `make dist`
LOG4J2 = f"jar:{CODE.as_uri()}!/jobs/lake/session/log4j2.properties"
WRITERS = "spark.sql.maxConcurrentOutputFileWriters"
MARK = "spark.databricks.delta.commitInfo.userMetadata"  # a text that Delta records in each commit of the session
# Tables are wrong or unreadable without these, so a user's setting is replaced.
SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    # a damaged page raises an error instead of giving wrong numbers
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    # Keeps the order of a day's rows. Otherwise Spark sorts rows by day, and loses the order if the sort spills.
    WRITERS: "2",  # files that a task may have open before Spark sorts instead
    # readers that ignore deletion vectors would see deleted rows
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    # VACUUM refuses to keep less than a table's retention (default: 7 days), as training reads older versions
    "spark.databricks.delta.retentionDurationCheck.enabled": "true",
    # Log files (jobs/raw_log/files/): a folder user_id=0042 is the user 0042, not 42; --encoding may be windows-1252;
    # times in nanoseconds, pandas' default, can be read
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
}
DRIVER_OPTIONS = "spark.driver.extraJavaOptions"
# For a JVM that this process starts; spark-submit has started its own.
EMBEDDED_SETTINGS = {
    "spark.driver.memory": os.environ.get("SPARK_DRIVER_MEMORY", "3g"),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    DRIVER_OPTIONS: "-XX:ReservedCodeCacheSize=256m -Duser.timezone=UTC "
    f"-Dlog4j2.configurationFile={LOG4J2 if CODE.is_file() else Path(__file__).with_name('log4j2.properties')}",
    # workers and their children get the zip from which the driver runs; spark-submit has sent its --py-files
    **({"spark.submit.pyFiles": str(CODE), "spark.executorEnv.PYTHONPATH": CODE.name} if CODE.is_file() else {}),
}
# Statistics of the first columns of a table (`ds` and its key) only: no query filters by others, and for a small day
# they cost more than all else of a commit. For new tables; `ALTER TABLE` changes it.
DELTA_DEFAULTS = {"spark.databricks.delta.properties.defaults.dataSkippingNumIndexedCols": "4"}
# Only without a cluster: executors on other machines could not reach the driver.
LOOPBACK_SETTINGS = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
# For small days (`are_days_small` in jobs/cli/lake.py): generated code and the JVM's second compiler cost more time
# than they save, and so do adaptive plans, which run each stage of a query as a separate Spark job.
SMALL_DAYS_SETTINGS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
SMALL_DAYS_OPTIONS = "-XX:TieredStopAtLevel=1"
# On small days the JVM's default, G1, takes 8 % more processor time and half as much memory again.
SERIAL_COLLECTOR = "-XX:+UseSerialGC"
JVM_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS")
COLLECTOR = re.compile(r"-XX:\+Use\w+GC\b")
# Options of spark-submit that stand for a setting; each may be followed by a space or by "=".
OPTIONS = {
    "--driver-memory": "spark.driver.memory",
    "--driver-java-options": DRIVER_OPTIONS,
    "--py-files": "spark.submit.pyFiles",
    "--packages": "spark.jars.packages",
    "--jars": "spark.jars",
}
LONG_OPTION = re.compile(r"(?<!\S)(--[a-z-]+)=")
MIN_SHUFFLE_PARTITIONS = 4
PARTITIONS_PER_CORE = 2
# Adaptive plans merge neighbouring partitions up to 64 MB, so a shuffle can start with many; tasks read more only if
# the shuffle exceeds 64 MB per partition.
ADAPTIVE_PARTITIONS_PER_CORE, MAX_ADAPTIVE_PARTITIONS = 32, 1_000
LISTED_FILES = 256  # up to so many files, Spark looks each up in the driver; it starts a job for more


def local_settings(cores: int, *, small_days: bool) -> dict[str, str]:
    """Defaults on one machine, `local-cluster` included: with Spark's own, scheduling would take most of the time."""
    fixed = max(MIN_SHUFFLE_PARTITIONS, PARTITIONS_PER_CORE * cores)
    adaptive = min(ADAPTIVE_PARTITIONS_PER_CORE * cores, MAX_ADAPTIVE_PARTITIONS)
    return {
        "spark.sql.shuffle.partitions": str(fixed if small_days else adaptive),
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",  # tasks of a vacuum; default: 10,000
        "spark.sql.sources.parallelPartitionDiscovery.threshold": str(LISTED_FILES),
    }


def embedded_settings(master: str, *, small_days: bool) -> dict[str, str]:
    """The settings of a JVM that this process starts, without those that the user gave."""
    settings = EMBEDDED_SETTINGS | (LOOPBACK_SETTINGS if master.startswith("local") else {}) | delta_packages()
    options = [settings[DRIVER_OPTIONS], small_days_options() if small_days else "", reading_options()]
    settings = settings | {DRIVER_OPTIONS: " ".join(filter(None, options))}
    given = _given_to_jvm()
    if "spark.jars" in given:  # may be Delta's
        given.add("spark.jars.packages")
    return {key: value for key, value in settings.items() if key not in given}


def small_days_options() -> str:
    """Options of a JVM for small days. A collector that the environment names stays: a JVM with two does not start."""
    is_chosen = any(COLLECTOR.search(os.environ.get(name, "")) for name in JVM_VARIABLES)
    return SMALL_DAYS_OPTIONS if is_chosen else f"{SMALL_DAYS_OPTIONS} {SERIAL_COLLECTOR}"


def delta_packages() -> dict[str, str]:
    """Lets Spark fetch Delta's JARs when it starts (10 s or more) if its jars/, where `make` puts them, lacks them."""
    if any(Path(_find_spark_home(), "jars").glob("*delta-spark_*.jar")):
        return {}
    return {"spark.jars.packages": f"io.delta:delta-spark_2.13:{version('delta-spark')}"}


def apply_defaults(spark: SparkSession, defaults: Mapping[str, str]) -> None:
    """Set the defaults in a running session, except settings that the user gave."""
    started_with = spark.sparkContext.getConf()
    for key, value in defaults.items():
        if not (started_with.contains(key) or spark._jsparkSession.conf().contains(key)):
            spark.conf.set(key, value)


def _given_to_jvm() -> set[str]:
    """The keys of PYSPARK_SUBMIT_ARGS, and of the file that it names or spark-defaults.conf."""
    given, files = set(), []
    words = shlex.split(LONG_OPTION.sub(r"\1 ", os.environ.get("PYSPARK_SUBMIT_ARGS", "")))
    for option, value in pairwise(words):
        if option in ("--conf", "-c"):
            given.add(value.partition("=")[0])
        elif option == "--properties-file":
            files.append(Path(value))
        elif option in OPTIONS:
            given.add(OPTIONS[option])
    folder = os.environ.get("SPARK_CONF_DIR") or Path(_find_spark_home(), "conf")
    for file in files or [Path(folder, "spark-defaults.conf")]:
        text = file.read_text("utf-8") if file.is_file() else ""
        given.update(re.findall(r"^\s*(spark\.[^\s=:]+)", text, re.MULTILINE))
    return given
