from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.tables import SchemaMismatch

DAY = dt.date(2024, 2, 29)  # a leap day
NEXT = DAY + dt.timedelta(days=1)
TABLE = tables.UNCLICKED_ITEMS


def rows(spark: SparkSession, *items: int) -> DataFrame:
    return spark.createDataFrame([(DAY, f"i{n}", n, n) for n in items], TABLE.schema)


def held(lake: Lake, ds: dt.date) -> list[int]:
    return sorted(row.item_index for row in lake.day(TABLE, ds).collect())


def test_a_day_is_overwritten_and_no_other(lake: Lake, spark: SparkSession) -> None:
    assert lake.overwrite(TABLE, DAY, rows(spark, 2, 3)) == 2
    assert lake.overwrite(TABLE, NEXT, rows(spark, 4)) == 1
    assert lake.overwrite(TABLE, DAY, rows(spark, 5)) == 1
    assert (held(lake, DAY), held(lake, NEXT)) == ([5], [4])
    assert lake.read(TABLE).count() == 2


def test_a_first_commit_that_was_cut_off_leaves_no_table(lake: Lake, spark: SparkSession) -> None:
    """A writer that is killed before its commit leaves the folder of the log, which Delta takes for a table."""
    Path(lake.table_path(TABLE), "_delta_log").mkdir(parents=True)
    assert not lake.has(TABLE)
    assert lake.read(TABLE).isEmpty()
    assert lake.overwrite(TABLE, DAY, rows(spark, 2)) == 1
    assert held(lake, DAY) == [2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop("exposures"), "missing exposures bigint"),
        (lambda frame: frame.withColumn("more", F.lit(1)), "unexpected more"),
        (lambda frame: frame.withColumn("exposures", F.lit("1")), "exposures must be bigint, got string"),
    ],
)
def test_another_schema_is_refused_before_a_write(lake: Lake, spark: SparkSession, spoil: object, message: str) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    with pytest.raises(SchemaMismatch, match=message):
        lake.overwrite(TABLE, DAY, spoil(rows(spark, 3)))  # type: ignore[operator]
    assert held(lake, DAY) == [2]
    assert lake.version(TABLE) == 0


def test_a_stored_table_of_another_schema_is_refused(lake: Lake, spark: SparkSession) -> None:
    rows(spark, 2).withColumnRenamed("exposures", "views").write.format("delta").save(lake.table_path(TABLE))
    with pytest.raises(SchemaMismatch, match="missing exposures bigint; unexpected views"):
        lake.read(TABLE)
    with pytest.raises(SchemaMismatch):
        lake.overwrite(TABLE, DAY, rows(spark, 3))


def test_the_latest_day_before_is_found_over_a_gap_but_not_beyond_the_lookback(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    lake.overwrite(TABLE, NEXT, rows(spark, 3))
    later = NEXT + dt.timedelta(days=5)
    assert [row.item_index for row in lake.latest_before(TABLE, later, 5).collect()] == [3]
    assert [row.item_index for row in lake.latest_before(TABLE, NEXT, 5).collect()] == [2]
    assert lake.latest_before(TABLE, later, 4).isEmpty()
    assert lake.latest_before(TABLE, DAY, 30).isEmpty()


def test_pinned_files_hold_exactly_the_days_of_one_version(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2, 3))
    lake.overwrite(TABLE, NEXT, rows(spark, 4))
    lake.overwrite(TABLE, NEXT, rows(spark, 5, 6, 7))  # the file of the first attempt is still on disk
    pinned = lake.pinned(TABLE, NEXT, 2)
    assert (pinned.version, pinned.rows) == (2, 5)
    assert spark.read.parquet(*pinned.files).count() == 5
    assert lake.pinned(TABLE, NEXT, 1).rows == 3
    assert len(list(Path(lake.table_path(TABLE)).glob("*/*.parquet"))) > len(pinned.files)
    with pytest.raises(NoSuchDay, match="no row from 2024-03-03 to 2024-03-03"):
        lake.pinned(TABLE, NEXT + dt.timedelta(days=2), 1)


def test_a_table_with_deletion_vectors_is_refused(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, *range(2, 50)))
    spark.sql(f"alter table delta.`{lake.table_path(TABLE)}` set tblproperties ('delta.enableDeletionVectors' = true)")
    with pytest.raises(ValueError, match="deletionVectors"):
        lake.pinned(TABLE, DAY, 1)


def test_days_are_utc_in_every_session_time_zone(lake: Lake, spark: SparkSession) -> None:
    lake.overwrite(TABLE, DAY, rows(spark, 2))
    spark.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    try:
        assert held(lake, DAY) == [2]
        lake.overwrite(TABLE, DAY, rows(spark, 3))
        assert lake.read(TABLE).select("ds").distinct().collect()[0].ds == DAY
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
