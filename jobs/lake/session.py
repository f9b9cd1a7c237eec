"""The Spark session of a job: embedded and local by default, the cluster's own under spark-submit or `--master`."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

CODE = Path(__file__).resolve().parents[2]  # the checkout, site-packages, or the zip of `make dist`
LOG4J2 = f"jar:{CODE.as_uri()}!/jobs/lake/log4j2.properties"
WRITERS = "spark.sql.maxConcurrentOutputFileWriters"
SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    # a damaged page is an error, not other numbers
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    # a day's rows are written as they come: else Spark sorts them by day first, and mixes their order where it spills
    WRITERS: "2",  # it sorts as soon as a task has opened so many
    # deletion vectors would bring deleted rows back to readers that do not know them
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    # VACUUM refuses to keep less than a table's 7 days: training reads files of older versions
    "spark.databricks.delta.retentionDurationCheck.enabled": "true",
}
# What a JVM that this process starts needs; spark-submit has started its own.
EMBEDDED_SETTINGS = {
    "spark.driver.memory": os.environ.get("SPARK_DRIVER_MEMORY", "3g"),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=256m -Duser.timezone=UTC "
    f"-Dlog4j2.configurationFile={LOG4J2 if CODE.is_file() else Path(__file__).with_name('log4j2.properties')}",
    # workers, and what they start, get the zip that the driver runs from; spark-submit has sent its --py-files
    **({"spark.submit.pyFiles": str(CODE), "spark.executorEnv.PYTHONPATH": CODE.name} if CODE.is_file() else {}),
}
# Days of some 100,000 rows are done before code that is made for a query, or the second compiler, has paid for itself.
SMALL_DAYS_SETTINGS = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
SMALL_DAYS_OPTIONS = "-XX:TieredStopAtLevel=1"
# Executors of another machine could not reach a driver that listens here.
LOOPBACK_SETTINGS = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
# Small days on one machine, which `local-cluster` is too: 200 and 50 partitions would be spent on scheduling.
LOCAL_SETTINGS = {
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",  # a vacuum would have 10,000 tasks
}


def spark_session(name: str, master: str | None = None, *, small_days: bool = False) -> SparkSession:
    """The running session, or a new one: the same call serves `python -m`, spark-submit and run_day.

    small_days: it is to be quick on little data, and may be slow on much.
    Raises RuntimeError where Spark does not find Delta's JARs.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        master = master or "local[*]"
        builder = builder.master(master)
        embedded = EMBEDDED_SETTINGS
        if master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            embedded = embedded | LOOPBACK_SETTINGS
        if small_days:
            options = embedded["spark.driver.extraJavaOptions"]
            embedded = embedded | {"spark.driver.extraJavaOptions": f"{SMALL_DAYS_OPTIONS} {options}"}
        for key, value in embedded.items():
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if str(spark.sparkContext.master).startswith("local-cluster"):
        atexit.register(spark.stop)  # its workers live in the driver's JVM, and start executors anew while that ends
    if str(spark.sparkContext.master).startswith("local"):
        for key, value in LOCAL_SETTINGS.items():
            spark.conf.set(key, value)
    for key, value in SMALL_DAYS_SETTINGS.items() if small_days else ():
        spark.conf.set(key, value)
    _require_delta(spark)
    return spark


def _require_delta(spark: SparkSession) -> None:
    loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    if loader.getResource("io/delta/sql/DeltaSparkSessionExtension.class") is None:
        raise RuntimeError(
            "Spark finds no Delta JARs: run the set-up (`make`), or pass --packages io.delta:delta-spark_2.13:4.0.1"
        )
