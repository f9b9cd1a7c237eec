"""The repair beyond one table: the table of a variant, and every table of a whole lake."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import repair_table
from jobs.lake import tables
from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.integrity.detect import TableDamaged
from jobs.lake.lake import Lake
from tests.jobs.lake.integrity.damages import day
from tests.jobs.repairable_table import plan


def test_the_command_for_a_variants_table_names_the_variant(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path / "lake"), "mns")
    table = tables.MODEL_VERSIONS
    row = (day(0), "v1", day(0), 1, 1, 1.0, 1.0)

    def rows() -> DataFrame:
        return spark.createDataFrame([row], table.schema)

    lake.overwrite(table, day(0), rows())
    lake.overwrite(table, day(0), rows())
    log = Path(lake.table_path(table)) / "_delta_log"
    (log / commit_name(1)).write_bytes(b"")
    with pytest.raises(TableDamaged, match=f"--table {table.name} --variant mns$"):
        lake.read(table)
    assert repair_table.main(["--lake", lake.uri, "--table", table.name, "--variant", "mns"]) > 0
    assert lake.version(table) == 0


def test_a_whole_lake_has_nothing_to_repair(simulated: Lake) -> None:
    logs = sorted(Path(simulated.uri).glob("**/_delta_log"))
    assert len(logs) > 10
    for path in logs:
        assert plan(simulated.spark, str(path.parent)) is None
