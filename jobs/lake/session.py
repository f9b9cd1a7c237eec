"""The Spark session of a job: embedded and local by default, that of a cluster under spark-submit or `--master`."""

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
    # a damaged page raises an error instead of giving wrong numbers
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    # Keeps the order of a day's rows. Otherwise Spark sorts rows by day, and loses the order if the sort spills.
    WRITERS: "2",  # files that a task may have open before Spark sorts instead
    # readers that ignore deletion vectors would see deleted rows
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    # VACUUM refuses to keep less than a table's retention (default: 7 days), as training reads older versions
    "spark.databricks.delta.retentionDurationCheck.enabled": "true",
}
# For a JVM that this process starts; spark-submit has started its own.
EMBEDDED_SETTINGS = {
    "spark.driver.memory": os.environ.get("SPARK_DRIVER_MEMORY", "3g"),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=256m -Duser.timezone=UTC "
    f"-Dlog4j2.configurationFile={LOG4J2 if CODE.is_file() else Path(__file__).with_name('log4j2.properties')}",
    # workers and their children get the zip from which the driver runs; spark-submit has sent its --py-files
    **({"spark.submit.pyFiles": str(CODE), "spark.executorEnv.PYTHONPATH": CODE.name} if CODE.is_file() else {}),
}
# For days of about 100,000 rows, generated code and the JVM's second compiler cost more time than they save.
SMALL_DAYS_SETTINGS = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
SMALL_DAYS_OPTIONS = "-XX:TieredStopAtLevel=1"
# Only without a cluster: executors on other machines could not reach the driver.
LOOPBACK_SETTINGS = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
# On one machine, `local-cluster` included: with Spark's defaults of 200 and 50, scheduling would take most of the time.
LOCAL_SETTINGS = {
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",  # tasks of a vacuum; default: 10,000
}


def spark_session(name: str, master: str | None = None, *, small_days: bool = False) -> SparkSession:
    """The running session, or a new one. The call is the same under `python -m`, spark-submit and run_day.

    name: of the application. small_days: optimise for little data, at the cost of large data.
    Raises RuntimeError if Delta's JARs are not on the class path.
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
        atexit.register(spark.stop)  # its workers are in the driver's JVM, and would restart executors during its exit
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
            "Delta's JARs must be on the class path: run `make`, or pass --packages io.delta:delta-spark_2.13:4.0.1"
        )
