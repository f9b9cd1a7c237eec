"""Training reads the rows that it pinned, whatever happens to the table meanwhile; a broken file changes nothing."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from delta.tables import DeltaTable
from pyspark.errors import IllegalArgumentException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, IntegerType, StructField, StructType

from jobs import train_two_tower
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = Table(
    "training_examples",
    StructType([StructField("ds", DateType()), StructField("item_index", IntegerType())]),
    key=("item_index",),
)
FIRST, SECOND = dt.date(2026, 2, 28), dt.date(2026, 3, 1)
FILES, ROWS = 60, 300  # a day; more files than Petastorm reads ahead
# Runs in its own process, because Petastorm must not be imported in a process that runs Spark.
READER = """
import json, sys
from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.pinned_files import PinnedFiles
from model.data.shards import shards
pinned = PinnedFiles.from_json(json.loads(sys.stdin.readline()))
for seed in (1, 2):
    read = []
    (shard,) = shards(pinned.files, [pinned.rows, *[0] * (len(pinned.files) - 1)], 5)
    for batch in epoch_batches(shard, [ITEM_INDEX], seed=seed, shuffle_row_groups=1):
        read += batch["item_index"].tolist()
        if seed == 1 and len(read) == 20:
            print("reading", flush=True)
            sys.stdin.readline()
    print(json.dumps(sorted(read)), flush=True)
"""


def examples(spark: SparkSession, day: dt.date, first: int) -> DataFrame:
    numbers = spark.range(first, first + ROWS, numPartitions=FILES)
    return numbers.select(F.lit(day).alias("ds"), F.col("id").cast("int").alias("item_index"))


@pytest.fixture
def written(lake: Lake, spark: SparkSession) -> Lake:
    lake.overwrite(EXAMPLES, FIRST, examples(spark, FIRST, 0))
    lake.overwrite(EXAMPLES, SECOND, examples(spark, SECOND, ROWS))
    return lake


def age(path: Path) -> None:
    """Make a file a month old, so that only the log can save it from VACUUM."""
    month_ago = time.time() - 30 * 24 * 3600
    os.utime(path, (month_ago, month_ago))


def test_an_epoch_is_unaffected_by_optimize_overwrite_and_vacuum(written: Lake, spark: SparkSession) -> None:
    path = Path(written.table_path(EXAMPLES))
    pinned = written.pinned(EXAMPLES, SECOND, 2)
    assert len(pinned.files) == 2 * FILES
    orphan = path / f"ds={FIRST}" / "part-of-a-write-that-failed.parquet"
    orphan.write_bytes(b"never committed")
    for file in path.glob("*/*.parquet"):
        age(file)

    command = [sys.executable, "-c", READER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdin
        assert reader.stdout
        print(json.dumps(pinned.to_json()), file=reader.stdin, flush=True)
        assert reader.stdout.readline() == "reading\n"
        spark.sql(f"optimize delta.`{path}`")
        written.overwrite(EXAMPLES, SECOND, examples(spark, SECOND, 10 * ROWS))
        spark.sql(f"vacuum delta.`{path}`")
        print("go on", file=reader.stdin, flush=True)
        epochs = [json.loads(reader.stdout.readline()) for _ in range(2)]
    assert reader.returncode == 0
    assert epochs == [list(range(2 * ROWS))] * 2

    assert not orphan.exists()  # it was a real VACUUM
    now = written.pinned(EXAMPLES, SECOND, 2)
    assert not set(now.files) & set(pinned.files)  # and none of the files read is the table's any more
    assert now.rows == 2 * ROWS


@pytest.mark.parametrize("hours", [0, 167])
def test_a_vacuum_below_seven_days_is_refused(written: Lake, spark: SparkSession, hours: int) -> None:
    path = Path(written.table_path(EXAMPLES))
    written.overwrite(EXAMPLES, SECOND, examples(spark, SECOND, 0))
    before = sorted(path.rglob("*.parquet"))
    with pytest.raises(IllegalArgumentException, match="retention"):
        spark.sql(f"vacuum delta.`{path}` retain {hours} hours")
    with pytest.raises(IllegalArgumentException, match="retention"):
        DeltaTable.forPath(spark, str(path)).vacuum(hours)
    assert sorted(path.rglob("*.parquet")) == before
    spark.sql(f"vacuum delta.`{path}` retain 168 hours")


def lose(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip_a_byte(path: Path) -> None:
    """Flip a byte of the item indices, and remove the checksum that only Hadoop's local file system has."""
    text = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    (chunk,) = (chunk for chunk in chunks if chunk.path_in_schema == "item_index")
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    text[start + chunk.total_compressed_size - 1] ^= 0x10  # values come last
    path.write_bytes(text)
    path.with_name(f".{path.name}.crc").unlink()


def state(lake: Lake) -> tuple[object, ...]:
    tables_there = [tables.MODEL_VERSIONS, tables.PUBLICATIONS, tables.CANDIDATES]
    rows = lake.read(tables.MODEL_VERSIONS).collect(), lake.read(tables.PUBLICATIONS).collect()
    models = sorted(str(path) for path in Path(lake.path("models")).rglob("*"))
    return [lake.version(table) for table in tables_there], rows, models


@pytest.mark.parametrize(
    ("name", "damage"),
    slow_after(
        3,
        [
            ("training_examples", lose),
            ("training_examples", cut_short),
            ("training_examples", flip_a_byte),
            ("item_snapshot", cut_short),
            ("item_sampling_probs", lose),
            ("item_sampling_probs", flip_a_byte),
        ],
    ),
)
def test_a_broken_file_stops_training_and_changes_nothing(
    simulated_copy: Lake, config: Config, name: str, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    lake, ds = simulated_copy, DAYS[2]
    table = {
        "training_examples": tables.training_examples(config),
        "item_snapshot": tables.item_snapshot(config),
        "item_sampling_probs": tables.ITEM_SAMPLING_PROBS,
    }[name]
    file = Path(lake.pinned(table, ds, 1).files[0].removeprefix("file:"))
    before = state(lake)
    damage(file)
    with pytest.raises(ValueError, match=r"a data file is missing or damaged|ended with exit code 2") as error:
        train_two_tower.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(ds)])
    message = str(error.value) + capfd.readouterr().err
    assert file.name in message
    assert "PinnedFileDamaged" in message or "DataFileDamaged" in type(error.value).__name__
    assert "loss" not in message  # not one step
    assert state(lake) == before
