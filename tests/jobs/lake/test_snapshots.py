"""A version of a table as delta-rs and as Spark read it from the log: the same columns, files and row counts."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import DataFrame, SparkSession

from jobs.lake import tables
from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.lake import Lake
from jobs.lake.snapshots import Snapshot, read_rows, read_snapshot, read_snapshot_by_spark
from jobs.lake.tables import Table

DAY = dt.date(2024, 2, 29)  # a leap day
NEXT = DAY + dt.timedelta(days=1)
TABLE = tables.UNCLICKED_ITEMS
# values of a partition column, and thus names of folders; Spark escapes some of these characters, Delta all of them
AWKWARD = ("a b", "50%", "50%25", "a/b", "a=b", "ü→雪", "[a]*{b}?", "a#b&c+d", "'\"")


def rows(spark: SparkSession, *items: int) -> DataFrame:
    return spark.createDataFrame([(DAY, f"i{n}", n, n) for n in items], TABLE.schema)


def words(spark: SparkSession, *features: str) -> DataFrame:
    made = [(feature, f"of {feature}", number, DAY) for number, feature in enumerate(features)]
    return spark.createDataFrame(made, tables.VOCABULARIES.schema)


def properties(lake: Lake, table: Table, **values: str) -> None:
    """Set properties of a Delta table."""
    listed = ", ".join(f"'delta.{key}' = '{value}'" for key, value in values.items())
    lake.spark.sql(f"alter table delta.`{lake.table_path(table)}` set tblproperties ({listed})")


def read_both_ways(lake: Lake, table: Table, version: int) -> Snapshot:
    """The snapshot, which is the same from delta-rs and from Spark."""
    path = lake.table_path(table)
    snapshot = read_snapshot(path, version, table.partition)
    other = read_snapshot_by_spark(lake.spark, path, version, table.partition)
    assert_frame_equal(snapshot.files, other.files, check_row_order=False)
    assert replace(snapshot, files=other.files) == other
    assert snapshot.table == path
    assert snapshot.version == version
    return snapshot


def days_and_rows(snapshot: Snapshot) -> dict[str, int]:
    return dict(snapshot.files.group_by("value").agg(pl.col("rows").sum()).rows())


def test_days_replaced_days_and_old_versions_are_read_alike(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2, 3))
    lake.overwrite(TABLE, NEXT, rows(spark, 4).repartition(1))
    lake.overwrite(TABLE, DAY, rows(spark, *range(10, 15)))
    newest, old = read_both_ways(lake, TABLE, 2), read_both_ways(lake, TABLE, 1)
    assert newest.schema == TABLE.schema
    assert not newest.unsafe_features
    assert (days_and_rows(newest), days_and_rows(old)) == ({str(DAY): 5, str(NEXT): 1}, {str(DAY): 2, str(NEXT): 1})
    assert (newest.rows, newest.between(DAY, DAY).rows, newest.between(NEXT, NEXT).rows) == (6, 5, 1)
    assert (newest.days(), newest.latest_day()) == ([DAY, NEXT], NEXT)
    for snapshot in (newest, old):
        assert snapshot.files["first_ds"].to_list() == snapshot.files["last_ds"].to_list()
        assert snapshot.files["first_ds"].to_list() == snapshot.files["value"].to_list()
        assert spark.read.parquet(*map(unquote, snapshot.urls)).count() == snapshot.rows
    assert newest.with_day(NEXT).rows == 1


def test_a_day_with_an_empty_file_has_no_rows(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    folder = Path(lake.table_path(TABLE), f"ds={NEXT}")
    folder.mkdir()
    schema = pa.schema([("item_id", pa.string()), ("item_index", pa.int32()), ("exposures", pa.int64())])
    pq.write_table(schema.empty_table(), folder / "empty.parquet")
    add = {
        "path": f"ds={NEXT}/empty.parquet", "partitionValues": {"ds": str(NEXT)}, "size": 1, "modificationTime": 1,
        "dataChange": True, "stats": '{"numRecords":0}',
    }  # fmt: skip
    Path(lake.table_path(TABLE), "_delta_log", commit_name(1)).write_text(json.dumps({"add": add}) + "\n", "utf-8")
    snapshot = read_both_ways(lake, TABLE, 1)
    assert len(snapshot.files) == 2
    assert (snapshot.days(), snapshot.latest_day()) == ([DAY], DAY)
    assert not lake.has_day(TABLE, NEXT)
    assert lake.day(TABLE, NEXT).isEmpty()
    assert lake.read(TABLE).count() == len(lake.rows(TABLE)) == 1
    assert lake.latest_day_before(TABLE, NEXT + dt.timedelta(days=1), 9) == DAY


def test_partition_values_that_are_escaped_in_paths_are_read_alike(lake: Lake, spark: SparkSession) -> None:
    lake.append(tables.VOCABULARIES, words(spark, *AWKWARD))
    snapshot = read_both_ways(lake, tables.VOCABULARIES, 0)
    assert days_and_rows(snapshot) == dict.fromkeys(AWKWARD, 1)
    assert set(snapshot.files["first_ds"]) == set(snapshot.files["last_ds"]) == {str(DAY)}
    expected = {(feature, f"of {feature}") for feature in AWKWARD}
    assert {(row.feature, row.value) for row in lake.read(tables.VOCABULARIES).collect()} == expected
    assert {(row.feature, row.value) for row in lake.rows(tables.VOCABULARIES)} == expected
    assert {row["value"] for row in read_rows(snapshot.between("50%", "50%")).to_dicts()} == {"of 50%"}


def test_days_of_a_table_with_another_partition_column_come_from_statistics(lake: Lake, spark: SparkSession) -> None:
    lake.append(tables.VOCABULARIES, words(spark, "a"))
    later = words(spark, "a", "b").selectExpr("feature", "value", "index", "date_add(ds, index) as ds")
    lake.append(tables.VOCABULARIES, later.coalesce(1))
    snapshot = read_both_ways(lake, tables.VOCABULARIES, 1)
    assert snapshot.with_day(NEXT).files["value"].to_list() == ["b"]
    assert snapshot.with_day(DAY).rows == 2
    assert snapshot.with_day(NEXT + dt.timedelta(days=1)).files.is_empty()


@pytest.mark.parametrize("table", [TABLE, tables.VOCABULARIES], ids=lambda table: table.name)
def test_without_statistics_rows_are_counted_in_the_files(table: Table, lake: Lake, spark: SparkSession) -> None:
    spark.conf.set("spark.databricks.delta.stats.collect", "false")
    try:
        made = rows(spark, 2, 3, 4) if table is TABLE else words(spark, "a b", "50%", "c")
        lake.append(table, made)
    finally:
        spark.conf.unset("spark.databricks.delta.stats.collect")
    log = Path(lake.table_path(table), "_delta_log", commit_name(0)).read_text("utf-8")
    assert "numRecords" not in log
    snapshot = read_both_ways(lake, table, 0)
    assert snapshot.rows == 3
    assert len(snapshot.with_day(DAY).files) == len(snapshot.files)  # a file of unknown days may have any
    made = rows(spark, 5) if table is TABLE else words(spark, "d")
    lake.append(table, made)  # with statistics
    assert read_both_ways(lake, table, 1).rows == 4


def test_a_checkpoint_gives_the_same_snapshot(lake: Lake, spark: SparkSession) -> None:
    lake.append(tables.VOCABULARIES, words(spark, *AWKWARD))
    before = read_both_ways(lake, tables.VOCABULARIES, 0)
    properties(lake, tables.VOCABULARIES, checkpointInterval="1")
    assert list(Path(lake.table_path(tables.VOCABULARIES), "_delta_log").glob("*.checkpoint.parquet"))
    assert_frame_equal(before.files, read_both_ways(lake, tables.VOCABULARIES, 1).files, check_row_order=False)


def test_deletion_vectors_are_refused_for_plain_readers_but_read_right(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, *range(2, 50)).coalesce(1))
    properties(lake, TABLE, enableDeletionVectors="true")
    spark.sql(f"delete from delta.`{lake.table_path(TABLE)}` where item_index < 10")
    snapshot = read_both_ways(lake, TABLE, 2)
    assert snapshot.unsafe_features == {"deletionVectors"}
    assert snapshot.rows == 40
    for read in (lambda: read_rows(snapshot), lambda: lake.pinned(TABLE, DAY, 1)):
        with pytest.raises(ValueError, match=r"must not use .*deletionVectors"):
            read()
    assert sorted(row.item_index for row in lake.read(TABLE).collect()) == list(range(10, 50))
    assert sorted(row.item_index for row in lake.rows(TABLE, DAY)) == list(range(10, 50))
    spark.sql(f"delete from delta.`{lake.table_path(TABLE)}` where true")
    assert not lake.has_day(TABLE, DAY)
    assert lake.day(TABLE, DAY).isEmpty()
    assert read_both_ways(lake, TABLE, 1).rows == 48


def test_mapped_columns_are_refused_for_plain_readers_but_read_right(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2, 3))
    properties(lake, TABLE, **{"columnMapping.mode": "name", "minReaderVersion": "2", "minWriterVersion": "5"})
    spark.sql(f"alter table delta.`{lake.table_path(TABLE)}` rename column exposures to other")
    spark.sql(f"alter table delta.`{lake.table_path(TABLE)}` add column (exposures bigint)")
    spark.sql(f"alter table delta.`{lake.table_path(TABLE)}` drop column other")
    lake.overwrite(TABLE, NEXT, rows(spark, 4))
    version = lake.version(TABLE)
    snapshot = read_both_ways(lake, TABLE, version)
    assert snapshot.unsafe_features == {"columnMapping"}
    assert days_and_rows(snapshot) == {str(DAY): 2, str(NEXT): 1}
    with pytest.raises(ValueError, match=r"must not use .*columnMapping"):
        lake.pinned(TABLE, NEXT, 2)
    expected = [(DAY, 2, None), (DAY, 3, None), (NEXT, 4, 4)]
    assert sorted((row.ds, row.item_index, row.exposures) for row in lake.read(TABLE).collect()) == expected
    assert sorted((row.ds, row.item_index, row.exposures) for row in lake.rows(TABLE)) == expected


def test_a_table_that_was_made_with_mapped_columns_is_read_right(lake: Lake, spark: SparkSession) -> None:
    """Its files and its partition column have generated names."""
    path = lake.table_path(tables.VOCABULARIES)
    columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in tables.VOCABULARIES.schema)
    spark.sql(
        f"create table delta.`{path}` ({columns}) using delta partitioned by (feature) "
        "tblproperties ('delta.columnMapping.mode' = 'name')"
    )
    lake.append(tables.VOCABULARIES, words(spark, "a b", "50%"))
    snapshot = read_both_ways(lake, tables.VOCABULARIES, 1)
    assert snapshot.unsafe_features == {"columnMapping"}
    assert days_and_rows(snapshot) == {"a b": 1, "50%": 1}
    assert len(snapshot.with_day(DAY).files) == 2
    assert snapshot.with_day(NEXT).files.is_empty()
    assert sorted(row.value for row in lake.read(tables.VOCABULARIES).collect()) == ["of 50%", "of a b"]
