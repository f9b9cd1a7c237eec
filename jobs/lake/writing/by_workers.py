"""Rows that Python workers make: written by these workers where the table is on a disk, and committed by Delta.

Otherwise each value would go from Arrow through a row of the JVM into Parquet, which for long lists takes longer than
making them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from jobs.lake.errors import commit_errors
from jobs.lake.file_layout import row_group_size
from jobs.lake.integrity.detect import StoredTable, delta_errors
from jobs.lake.queries import empty_frame
from jobs.lake.snapshots import local_path
from jobs.lake.tables import Table, check_schema
from jobs.lake.writing.by_spark import commit
from jobs.lake.writing.one_row import PLAIN_WRITER
from jobs.lake.writing.transaction import Transaction
from jobs.workers.batches import MapBatches
from jobs.workers.files import FileLayout, WrittenFile, file_writer

FILES = "path string, bytes long, modified long, rows long, statistics string"  # the fields of WrittenFile
CODEC = "spark.sql.parquet.compression.codec"
CODECS = {name: name for name in ("snappy", "gzip", "zstd", "brotli", "none")} | {"uncompressed": "none"}


@dataclass(frozen=True)
class WorkerRows:
    """Rows that Python workers make of the Arrow batches of `source`, sorted as its partitions are.

    make: the function of the batches of a partition; schema: the columns that it makes, without the partition column of
    the table.
    """

    source: DataFrame
    make: MapBatches
    schema: StructType

    def frame(self) -> DataFrame:
        """The rows for all other uses."""
        return self.source.mapInArrow(self.make, self.schema)


def commit_by_workers(
    stored: StoredTable,
    table: Table,
    ds: dt.date,
    rows: WorkerRows,
    row_group_rows: int,
    existing: StructType | None,
) -> int:
    """Replace the day `ds` of a table by `rows` in one commit; returns their number.

    The workers write the files if the table is on a local or mounted disk, which all executors of a cluster then have
    to see, and needs nothing but plain files; otherwise Spark writes them (`commit`). row_group_rows: the rows of a row
    group; the last one of a file has the rest. existing: as in `commit`. Raises SchemaMismatch (before anything is
    written), WriteConflict, DiskFull, or ValueError if the driver does not see the files.
    """
    check_schema(table, StructType([table.schema[table.partition], *rows.schema]))
    if existing is not None:
        check_schema(table, existing)
    predicate = f"{table.partition} = DATE'{ds.isoformat()}'"
    folder, codec = local_path(stored.path), CODECS.get(str(stored.spark.conf.get(CODEC)).lower())
    if folder is not None and codec is not None:
        layout = FileLayout(to_arrow_schema(rows.schema, timestamp_utc=True), row_group_rows, codec)
        with delta_errors(stored), commit_errors(stored.path):
            transaction = Transaction(stored.spark, stored.path, table, predicate)
            transaction.write(empty_frame(stored.spark, table.schema))
            if transaction.writer_version <= PLAIN_WRITER:
                return _commit_files(transaction, rows, folder, ds, layout)
    with row_group_size(stored.spark, row_group_rows):
        return commit(stored, table, rows.frame().withColumn(table.partition, F.lit(ds)), predicate, existing)


def _commit_files(transaction: Transaction, rows: WorkerRows, root: Path, ds: dt.date, layout: FileLayout) -> int:
    """Let the workers write files, and commit those of the tasks that have ended well; returns the number of rows.

    root: the folder of the table. What a task wrote before it was run again stays until maintain_tables removes files
    of no version.
    """
    folder = root / f"{transaction.table.partition}={ds.isoformat()}"
    made = rows.source.mapInArrow(file_writer(rows.make, folder, layout), FILES)
    files = [WrittenFile(*row) for row in made.collect()]  # one for each task
    for file in files:
        _require_file(root / file.path, file.bytes)
    transaction.take(files, ds.isoformat())
    transaction.commit()
    return sum(file.rows for file in files)


def _require_file(file: Path, size: int) -> None:
    """Raises ValueError if the driver does not see a file as the worker has left it."""
    found = file.stat().st_size if file.exists() else None
    if found != size:
        raise ValueError(
            f"the lake must be on a disk that the driver and all executors see, got {file} of {size} bytes on an "
            f"executor and of {found} on the driver"
        )
