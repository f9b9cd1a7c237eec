"""A lake on which several drivers could lose each other's commits is refused before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import await_log, build_interactions
from jobs.lake.integrity.log_store import UnsafeLogStore, log_store, require_safe_commits
from tests.conftest import DAYS

S3 = "s3a://bucket/lake"
DYNAMO = "io.delta.storage.S3DynamoDBLogStore"
SINGLE = "io.delta.storage.S3SingleDriverLogStore"


@contextmanager
def configured(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    """Set a key of Spark's configuration, as if the session had been started with it."""
    conf = spark._jvm.org.apache.spark.SparkEnv.get().conf()
    conf.set(key, value)
    try:
        yield
    finally:
        conf.remove(key)


@pytest.mark.parametrize("scheme", ["s3a", "s3", "gs", "abfss", "hdfs", "file"])
def test_the_store_is_the_one_that_delta_uses(spark: SparkSession, scheme: str) -> None:
    jvm = spark._jvm
    delta = jvm.org.apache.spark.sql.delta.storage.DelegatingLogStore(spark._jsc.hadoopConfiguration())
    taken = delta.getDelegate(jvm.org.apache.hadoop.fs.Path(f"{scheme}://bucket/lake"))
    assert log_store(spark, scheme) == taken.logStoreImpl().getClass().getName()


@pytest.mark.parametrize(
    "uri", ["lake", "/data/lake", "file:///data/lake", "hdfs:///lake", "abfss://c@a/lake", "gs://b/l"]
)
def test_a_store_with_safe_commits_needs_no_configuration(spark: SparkSession, uri: str) -> None:
    require_safe_commits(spark, uri, single_driver=False)


@pytest.mark.parametrize("uri", [S3, "s3://bucket/lake", "S3A://bucket/lake", "oss://bucket/lake"])
def test_a_store_without_safe_commits_is_refused_unless_one_driver_is_declared(spark: SparkSession, uri: str) -> None:
    scheme = uri.partition(":")[0].lower()
    with pytest.raises(UnsafeLogStore, match=rf"spark\.delta\.logStore\.{scheme}\.impl .*lake\.single_driver = true"):
        require_safe_commits(spark, uri, single_driver=False)
    require_safe_commits(spark, uri, single_driver=True)


@pytest.mark.parametrize("prefix", ["spark.", ""])
@pytest.mark.parametrize("key", ["delta.logStore.s3a.impl", "delta.logStore.class"])
def test_a_configured_log_store_for_several_writers_is_accepted(spark: SparkSession, prefix: str, key: str) -> None:
    with configured(spark, prefix + key, DYNAMO):
        require_safe_commits(spark, S3, single_driver=False)


@pytest.mark.parametrize(
    "name", [SINGLE, SINGLE.replace("io.delta", "org.apache.spark.sql.delta"), "io.delta.storage.HDFSLogStore"]
)
def test_a_log_store_that_does_not_make_commits_safe_is_refused(spark: SparkSession, name: str) -> None:
    with (
        configured(spark, "spark.delta.logStore.s3a.impl", name),
        pytest.raises(UnsafeLogStore, match=f"through {name}:"),
    ):
        require_safe_commits(spark, S3, single_driver=False)
    with configured(spark, "spark.delta.logStore.s3.impl", DYNAMO), pytest.raises(UnsafeLogStore):
        require_safe_commits(spark, S3, single_driver=False)  # of another scheme


def test_a_job_is_refused_before_it_looks_at_the_lake(spark: SparkSession, tmp_path: Path) -> None:
    """No S3 connector is on the class path here, so a job that reads the lake fails with another error."""
    for job in (await_log, build_interactions):
        with pytest.raises(UnsafeLogStore):
            job.main(["--lake", S3, "--ds", str(DAYS[0])])
    said = tmp_path / "said.toml"
    said.write_text("[lake]\nsingle_driver = true\n", "utf-8")
    with pytest.raises(Exception, match="S3AFileSystem not found"):
        build_interactions.main(["--lake", S3, "--ds", str(DAYS[0]), "--config", str(said)])
