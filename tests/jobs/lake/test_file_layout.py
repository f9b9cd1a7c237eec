"""Row groups of equal size, and rows in the intended order."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.lake import tables
from jobs.lake.file_layout import in_equal_row_groups, one_row_group_per_file, row_group_count, sorted_files
from jobs.lake.lake import Lake
from tests.conftest import DAYS


@pytest.mark.parametrize(
    ("rows", "largest", "multiple", "groups"),
    [(0, 10, 4, 1), (1, 10, 4, 1), (3, 10, 4, 3), (40, 10, 4, 4), (41, 10, 4, 8), (41, 10, 1, 5), (1_000, 64, 6, 18)],
)
def test_groups_come_in_multiples_and_none_is_too_large_or_empty(
    rows: int, largest: int, multiple: int, groups: int
) -> None:
    assert row_group_count(rows, largest, multiple) == groups
    assert groups <= max(rows, 1)
    assert -(-rows // groups) <= largest


@pytest.mark.parametrize("groups", [1, 2, 7, 64])
def test_each_file_is_one_row_group_and_sizes_differ_by_at_most_one(
    spark: SparkSession, tmp_path: Path, groups: int
) -> None:
    count = 20_011
    rows = spark.range(count).selectExpr("concat('k', id) as key", "id", "repeat(md5(string(id)), 8) as weight")
    spark.conf.set("parquet.block.size", str(64 * 1024))  # the rows' size would give many row groups
    try:
        with one_row_group_per_file(spark):
            in_equal_row_groups(rows, "key", count, groups).write.parquet(str(tmp_path / "rows"))
        in_equal_row_groups(rows, "key", count, 1).write.parquet(str(tmp_path / "cut"))
    finally:
        spark.conf.unset("parquet.block.size")
    files = [pq.ParquetFile(path).metadata for path in sorted((tmp_path / "rows").glob("*.parquet"))]
    sizes = [file.row_group(0).num_rows for file in files]
    assert [file.num_row_groups for file in files] == [1] * groups
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    (cut,) = (pq.ParquetFile(path).metadata for path in (tmp_path / "cut").glob("*.parquet"))
    assert cut.num_row_groups > 1  # so the setting made the other files one row group each
    read = spark.read.parquet(str(tmp_path / "rows"))
    assert read.select("id").distinct().count() == count


def test_the_position_of_a_row_depends_only_on_its_key(spark: SparkSession) -> None:
    rows = spark.range(1_000).selectExpr("concat('k', id) as key")
    one = in_equal_row_groups(rows, "key", 1_000, 5).rdd.glom().collect()
    other = (
        in_equal_row_groups(rows.repartition(7).orderBy("key", ascending=False), "key", 1_000, 5).rdd.glom().collect()
    )
    assert one == other


@pytest.mark.usefixtures("spilling")
def test_a_day_is_written_in_its_order_however_much_is_spilled(spark: SparkSession, lake: Lake) -> None:
    table = tables.Table("lists", tables.CANDIDATES.pick("ds", "user_id"), key=("user_id",))
    users = spark.range(5_000).selectExpr("concat('user', id) as user_id")
    scored = sorted_files(users, "user_id", 5_000).mapInArrow(
        lambda batches: batches, "user_id string"
    )  # Spark forgets order
    assert lake.overwrite(table, DAYS[0], scored) == 5_000
    for path in Path(lake.table_path(table)).glob("ds=*/*.parquet"):
        ids = pq.ParquetFile(path).read()["user_id"].to_pylist()
        assert ids == sorted(ids)


@pytest.mark.usefixtures("spilling")
def test_examples_are_written_by_their_hash_however_much_is_spilled(spark: SparkSession, lake: Lake) -> None:
    table = tables.Table("examples", tables.CANDIDATES.pick("ds", "user_id"), key=("user_id",))
    users = spark.range(5_000).selectExpr("concat('user', id) as user_id")
    ordered = in_equal_row_groups(users, "user_id", 5_000, 2)
    wanted = [[row.user_id for row in part] for part in ordered.rdd.glom().collect()]
    lake.overwrite(table, DAYS[0], ordered)
    files = Path(lake.table_path(table)).glob("ds=*/*.parquet")
    assert sorted(pq.ParquetFile(path).read()["user_id"].to_pylist() for path in files) == sorted(wanted)
