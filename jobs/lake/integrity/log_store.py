"""Which LogStore writes a lake's commits, and whether several drivers may commit through it."""

from __future__ import annotations

from urllib.parse import urlsplit

from pyspark.sql import SparkSession

# Delta's own stores, and where of two commits with one number they let one fail: by a rename or a put that does not
# overwrite. On S3 Delta 4.0 asks for neither, and the lock that it takes instead is one of its process.
CONDITIONAL: dict[str, frozenset[str]] = {
    "HDFSLogStore": frozenset({"file", "hdfs", "viewfs"}),
    "LocalLogStore": frozenset({"file"}),
    "AzureLogStore": frozenset({"abfs", "abfss", "adl", "wasb", "wasbs"}),
    "GCSLogStore": frozenset({"gs"}),
    "S3SingleDriverLogStore": frozenset(),
}


class UnsafeLogStore(ValueError):
    """Several drivers could overwrite each other's commits, and nothing says that there is only one."""


def require_safe_commits(spark: SparkSession, uri: str, *, single_driver: bool) -> None:
    """Raises UnsafeLogStore where commits of two drivers could be lost, unless `single_driver` says there is one.

    Looks at the configuration of the session alone, and not at the lake. A class that is not Delta's own is taken at
    its word.
    """
    scheme = urlsplit(uri).scheme.lower() or "file"
    name = log_store(spark, scheme)
    if single_driver or scheme in CONDITIONAL.get(name.rpartition(".")[2], {scheme}):
        return
    raise UnsafeLogStore(
        f"two drivers could overwrite each other's commits in {uri}, which Delta writes through {name}: wants "
        f"spark.delta.logStore.{scheme}.impl to name a LogStore for several writers (on S3 "
        "io.delta.storage.S3DynamoDBLogStore), or lake.single_driver = true in the configuration where no two jobs "
        "ever write at the same time"
    )


def log_store(spark: SparkSession, scheme: str) -> str:
    """The class through which Delta commits to paths of a scheme."""
    jvm = spark._jvm
    conf, delta = jvm.org.apache.spark.SparkEnv.get().conf(), jvm.org.apache.spark.sql.delta.storage.DelegatingLogStore  # type: ignore[union-attr]
    keys = ("delta.logStore.class", f"delta.logStore.{scheme}.impl")
    named = [str(conf.get(f"{prefix}{key}", "")) for key in keys for prefix in ("spark.", "")]
    own = delta.getDefaultLogStoreClassName(scheme)
    default = str(own.get() if own.isDefined() else delta.defaultHDFSLogStoreClassName())
    return next(filter(None, named), default)
