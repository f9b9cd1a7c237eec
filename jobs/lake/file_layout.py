"""The layout of Parquet files: equal row groups for the readers of training, small sorted row groups for look-ups.

The layout of training_examples is chosen in `jobs.build_training_examples`, that of candidates in
`jobs.serving.candidate_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.session import WRITERS

BUCKETS = 256  # ranges of hashes, whose rows are numbered in parallel
BLOCK_SIZE = "parquet.block.size"
LARGEST_BLOCK = 1 << 30  # bytes: a row group ends only at the end of its file
SMALLEST_BLOCK = 1 << 10  # bytes: a row group ends when its size is first checked
ROWS_BETWEEN_CHECKS = ("parquet.page.size.row.check.min", "parquet.page.size.row.check.max")
# Spark ends a task's files at the first number of bytes, and counts each file as if it had the second one more.
FILES_PER_TASK = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
LARGEST_SPLIT = 1 << 40  # bytes
MAX_ROWS_PER_FILE = 100_000
DAYS_PER_TASK = 1_000  # days, and thus files, that one task of a merge can have open
MERGE_SHUFFLES = "spark.databricks.delta.merge.repartitionBeforeWrite.enabled"


def row_group_count(rows: int, row_group_rows: int, multiple: int) -> int:
    """The number of row groups of at most `row_group_rows` rows each, rounded up to a multiple of `multiple`.

    At most one row group per row, so that none is empty; 1 if there are no rows.
    """
    return max(min(rows, -(-rows // (row_group_rows * multiple)) * multiple), 1)


def in_equal_row_groups(rows: DataFrame, key: str, count: int, groups: int) -> DataFrame:
    """`rows` in `groups` partitions whose sizes differ by at most one row. count: the number of rows.

    The partition and the position of a row depend only on the hashes of the keys. key: a unique column.
    """
    if groups == 1:
        return rows.repartition(1).sortWithinPartitions(F.xxhash64(key), key)
    numbered = _numbered(rows, key)
    group = F.floor(F.col("_number").cast("long") * groups / F.lit(count)).cast("int")
    keys = F.lit(_keys_of_partitions(rows.sparkSession, groups))
    placed = numbered.withColumn("_key", F.element_at(keys, group + 1)).drop("_number")
    return placed.repartition(groups, "_key").drop("_key").sortWithinPartitions(F.xxhash64(key), key)


def _numbered(rows: DataFrame, key: str) -> DataFrame:
    """`rows` with `_number`, counted from 0 in the order of the keys' hashes, without a global sort."""
    hashed = rows.withColumn("_hash", F.xxhash64(key))
    bucket = F.shiftrightunsigned("_hash", 64 - 8).cast("int")
    sizes: dict[int, int] = dict(hashed.groupBy(bucket.alias("bucket")).count().collect())  # at most BUCKETS rows
    starts = list(accumulate((sizes.get(number, 0) for number in range(BUCKETS)), initial=0))
    start = F.element_at(F.lit(starts), F.col("_bucket") + 1)
    position = F.expr(f"row_number() over (partition by _bucket order by _hash, {key})")
    numbered = hashed.withColumn("_bucket", bucket).withColumn("_number", start + position - 1)
    return numbered.drop("_hash", "_bucket")


def _keys_of_partitions(spark: SparkSession, partitions: int) -> list[int]:
    """For each partition, an integer that `repartition` assigns to it.

    `repartition` by the group number itself would put two groups into some partitions and leave others empty.
    """
    keys: dict[int, int] = {}
    size = 8 * partitions
    while len(keys) < partitions:
        size *= 2
        numbers = spark.range(size).select(F.col("id").cast("int").alias("key"))
        first = numbers.groupBy(F.pmod(F.hash("key"), F.lit(partitions)).alias("partition")).agg(F.min("key"))
        keys = dict(first.collect())  # one row per partition
    return [keys[number] for number in range(partitions)]


def sorted_files(rows: DataFrame, key: str, count: int) -> DataFrame:
    """`rows` sorted by `key`, in files with disjoint key ranges and at most about MAX_ROWS_PER_FILE rows each.

    count: the number of rows, as a table's log has it; counting `rows` would make all their joins run once more.
    """
    tasks = max(rows.sparkSession.sparkContext.defaultParallelism, -(-count // MAX_ROWS_PER_FILE))
    return rows.repartitionByRange(tasks, key).sortWithinPartitions(key)


def one_row_group_per_file(spark: SparkSession) -> AbstractContextManager[None]:
    """Files written inside the block have one row group each, whatever their size in bytes."""
    return _settings(spark, {BLOCK_SIZE: LARGEST_BLOCK})


def row_group_size(spark: SparkSession, rows: int) -> AbstractContextManager[None]:
    """Files written inside the block have row groups of `rows` rows; the last one has the rest."""
    return _settings(spark, {BLOCK_SIZE: SMALLEST_BLOCK, **dict.fromkeys(ROWS_BETWEEN_CHECKS, rows)})


def one_task_per_file(spark: SparkSession) -> AbstractContextManager[None]:
    """Inside the block, each task of a query that reads files reads one whole file, in the file's order."""
    return _settings(spark, dict.fromkeys(FILES_PER_TASK, LARGEST_SPLIT))


def merge_in_order(spark: SparkSession) -> AbstractContextManager[None]:
    """Inside the block, a merge with a broadcast frame keeps the row order of each file that it rewrites.

    A task may then write many days at once; with small row groups (`row_group_size`) it needs little memory.
    """
    return _settings(spark, {MERGE_SHUFFLES: False, WRITERS: DAYS_PER_TASK})


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
