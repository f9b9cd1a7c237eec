"""Small tables that are read without Spark: the rows that Spark collects, with times in UTC."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.lake import Lake

DAY = dt.date(2024, 2, 29)
ROOT = Path(__file__).resolve().parents[3]
IN_AUCKLAND = """
import sys
from jobs.lake import tables
from jobs.lake.lake import Lake

def no_spark():
    raise AssertionError("Spark was started")

lake = Lake(no_spark, sys.argv[1])
for table in (tables.CLICKS, tables.CANDIDATES, tables.USER_HISTORIES):
    print(lake.rows(table))
"""


def test_rows_without_spark_are_those_of_spark_in_every_time_zone(lake: Lake, spark: SparkSession) -> None:
    """Times are in UTC, of the years that Spark can write; lists and structs are as Spark collects them."""
    times = ["2024-02-29T23:59:59.999999", "1970-01-01T00:00:00", "1600-01-01T12:00:00", "9999-12-31T23:00:00.000001"]
    clicks = [(DAY, f"m{n}", "u", None, time, 0.5 if n else None) for n, time in enumerate(times)]
    kinds = tables.CLICKS.schema.simpleString().replace("clicked_at:timestamp", "clicked_at:string")
    made = spark.createDataFrame(clicks, kinds).withColumn("clicked_at", F.expr("clicked_at::timestamp"))
    lake.append(tables.CLICKS, made)
    candidates = "array(struct('i1', 0.5f, 1, 'model', 0.7f), struct('i2', null, 2, null, null))"
    kind = tables.CANDIDATES.schema["candidates"].dataType.simpleString()
    lake.append(
        tables.CANDIDATES,
        spark.sql(
            f"select DATE'{DAY}' as ds, 'u' as user_id, cast({candidates} as {kind}) as candidates, "
            "'m' as model_version, TIMESTAMP'2024-02-29 12:00:00' as scored_at "
            f"union all select DATE'{DAY}', 'v', null, 'm', null"
        ),
    )
    kind = tables.USER_HISTORIES.schema["clicked"].dataType.simpleString()
    lake.append(
        tables.USER_HISTORIES,
        spark.sql(
            f"select DATE'{DAY}' as ds, 'u' as user_id, array(3, null, 1) as history, "
            f"cast(array(struct(DATE'{DAY}', array(1, 2))) as {kind}) as clicked"
        ),
    )
    script = [sys.executable, "-c", IN_AUCKLAND, lake.uri]
    here, there = (
        subprocess.run(
            script, env={**os.environ, "TZ": zone}, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for zone in ("UTC", "Pacific/Auckland")
    )
    assert here == there
    lines = iter(here.splitlines())
    for table in (tables.CLICKS, tables.CANDIDATES, tables.USER_HISTORIES):
        found, expected = lake.rows(table), lake.read(table).collect()
        assert next(lines) == str(found)
        assert sorted(map(str, map(in_utc, found))) == sorted(map(str, map(in_utc, expected)))
    stored = {row.impression_id: row.clicked_at for row in lake.rows(tables.CLICKS)}
    assert stored == {f"m{n}": dt.datetime.fromisoformat(time).replace(tzinfo=dt.UTC) for n, time in enumerate(times)}


def in_utc(row: object) -> list[object]:
    """The values of a row; Spark gives times in the zone of the process, without saying so."""
    return [
        value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else value
        for value in row  # type: ignore[attr-defined]
    ]
