"""Which LogStore class writes the commits of a lake, and whether several drivers may use it at the same time."""

from __future__ import annotations

from urllib.parse import urlsplit

from pyspark.sql import SparkSession

# Delta's own stores, each with the URI schemes on which it is safe: of two commits with the same number the second one
# fails, because the rename or put does not overwrite. On S3, Delta 4.0 only has a lock within its own process. On a
# local disk ("file") it looks for the file and then renames, so commits within the same moment are not kept apart; the
# publications, for which that matters, are committed by delta-rs there (`jobs.lake.writing.one_row`).
CONDITIONAL: dict[str, frozenset[str]] = {
    "HDFSLogStore": frozenset({"file", "hdfs", "viewfs"}),
    "LocalLogStore": frozenset({"file"}),
    "AzureLogStore": frozenset({"abfs", "abfss", "adl", "wasb", "wasbs"}),
    "GCSLogStore": frozenset({"gs"}),
    "S3SingleDriverLogStore": frozenset(),
}


class UnsafeLogStore(ValueError):
    """Several drivers could overwrite each other's commits, and the configuration does not exclude that."""


def require_safe_commits(spark: SparkSession, uri: str, *, single_driver: bool) -> None:
    """Raises UnsafeLogStore if concurrent drivers could lose commits, unless `single_driver` excludes them.

    Checks the configuration of the session, not the lake. A class that is not Delta's own is assumed to be safe.
    """
    scheme = urlsplit(uri).scheme.lower() or "file"
    name = log_store(spark, scheme)
    if single_driver or scheme in CONDITIONAL.get(name.rpartition(".")[2], {scheme}):
        return
    raise UnsafeLogStore(
        f"two drivers could overwrite each other's commits in {uri}, which Delta writes through {name}: "
        f"spark.delta.logStore.{scheme}.impl must name a LogStore for several writers (on S3 "
        "io.delta.storage.S3DynamoDBLogStore), or the configuration must have lake.single_driver = true if only one "
        "job ever writes at a time"
    )


def log_store(spark: SparkSession, scheme: str) -> str:
    """The name of the class through which Delta commits to paths of a scheme."""
    jvm = spark._jvm
    conf, delta = jvm.org.apache.spark.SparkEnv.get().conf(), jvm.org.apache.spark.sql.delta.storage.DelegatingLogStore  # type: ignore[union-attr]
    keys = ("delta.logStore.class", f"delta.logStore.{scheme}.impl")
    named = [str(conf.get(f"{prefix}{key}", "")) for key in keys for prefix in ("spark.", "")]
    own = delta.getDefaultLogStoreClassName(scheme)
    default = str(own.get() if own.isDefined() else delta.defaultHDFSLogStoreClassName())
    return next(filter(None, named), default)
