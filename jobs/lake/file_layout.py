"""How rows lie in files: row groups of equal size for the training's readers, or sorted ones for looking rows up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.session import WRITERS

BUCKETS = 256  # that rows are numbered in side by side
BLOCK_SIZE = "parquet.block.size"
LARGEST_BLOCK = 1 << 30  # bytes: a row group ends with its file, not before
SMALLEST_BLOCK = 1 << 10  # bytes: it ends as soon as its size is looked at
ROWS_BETWEEN_CHECKS = ("parquet.page.size.row.check.min", "parquet.page.size.row.check.max")
ROWS_OF_A_FILE = 100_000
DAYS_OF_A_TASK = 1_000
MERGE_SHUFFLES = "spark.databricks.delta.merge.repartitionBeforeWrite.enabled"


def planned(rows: int, row_group_rows: int, multiple: int) -> int:
    """How many row groups: a multiple of `multiple`, none larger than `row_group_rows`, and none empty."""
    return max(min(rows, -(-rows // (row_group_rows * multiple)) * multiple), 1)


def in_row_groups(rows: DataFrame, key: str, count: int, groups: int) -> DataFrame:
    """`rows`, `count` of them, in `groups` partitions whose sizes differ by one at most.

    Which partition a row is in, and where, hangs on the hash of its unique `key` alone.
    """
    if groups == 1:
        return rows.repartition(1).sortWithinPartitions(F.xxhash64(key), key)
    numbered = _numbered(rows, key)
    group = F.floor(F.col("_number").cast("long") * groups / F.lit(count)).cast("int")
    keys = F.lit(_keys_of_partitions(rows.sparkSession, groups))
    placed = numbered.withColumn("_key", F.element_at(keys, group + 1)).drop("_number")
    return placed.repartition(groups, "_key").drop("_key").sortWithinPartitions(F.xxhash64(key), key)


def _numbered(rows: DataFrame, key: str) -> DataFrame:
    """`rows` with `_number`, from 0 in the order of their hashes; no partition ever holds more than a bucket."""
    hashed = rows.withColumn("_hash", F.xxhash64(key))
    bucket = F.shiftrightunsigned("_hash", 64 - 8).cast("int")
    sizes: dict[int, int] = dict(hashed.groupBy(bucket.alias("bucket")).count().collect())  # at most BUCKETS rows
    starts = list(accumulate((sizes.get(number, 0) for number in range(BUCKETS)), initial=0))
    start = F.element_at(F.lit(starts), F.col("_bucket") + 1)
    place = F.expr(f"row_number() over (partition by _bucket order by _hash, {key})")
    numbered = hashed.withColumn("_bucket", bucket).withColumn("_number", start + place - 1)
    return numbered.drop("_hash", "_bucket")


def _keys_of_partitions(spark: SparkSession, partitions: int) -> list[int]:
    """For each partition a number that `repartition` puts there: by hash alone some would be empty, others double."""
    keys: dict[int, int] = {}
    size = 8 * partitions
    while len(keys) < partitions:
        size *= 2
        numbers = spark.range(size).select(F.col("id").cast("int").alias("key"))
        found = numbers.groupBy(F.pmod(F.hash("key"), F.lit(partitions)).alias("partition")).agg(F.min("key"))
        keys = dict(found.collect())  # a row a partition
    return [keys[number] for number in range(partitions)]


def sorted_files(rows: DataFrame, key: str) -> DataFrame:
    """`rows` in files of at most some 100,000 of them, each with a range of its own of `key`, in its order."""
    tasks = max(rows.sparkSession.sparkContext.defaultParallelism, -(-rows.count() // ROWS_OF_A_FILE))
    return rows.repartitionByRange(tasks, key).sortWithinPartitions(key)


def one_row_group_a_file(spark: SparkSession) -> AbstractContextManager[None]:
    """Files that are written inside the block are not cut into more row groups, whatever their rows weigh."""
    return _settings(spark, {BLOCK_SIZE: LARGEST_BLOCK})


def row_groups_of(spark: SparkSession, rows: int) -> AbstractContextManager[None]:
    """Files that are written inside the block have row groups of so many rows; the last one has what is left."""
    return _settings(spark, {BLOCK_SIZE: SMALLEST_BLOCK, **dict.fromkeys(ROWS_BETWEEN_CHECKS, rows)})


def in_their_order(spark: SparkSession) -> AbstractContextManager[None]:
    """A merge with a broadcast frame inside the block leaves the rows that stay in a file in their order.

    A task may write so many days: small row groups (`row_groups_of`) keep its memory small.
    """
    return _settings(spark, {MERGE_SHUFFLES: False, WRITERS: DAYS_OF_A_TASK})


@contextmanager
def _settings(spark: SparkSession, values: dict[str, int]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in values}
    for key, value in values.items():
        spark.conf.set(key, str(value))
    try:
        yield
    finally:
        for key, earlier in before.items():
            if earlier is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, earlier)
