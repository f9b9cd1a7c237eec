"""Files that Python workers write: row groups, statistics, checksums; nothing is left after an error."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from jobs.lake.integrity.arrow_log import ArrowLogStorage, UnreadableFile
from jobs.workers.files import BYTES_PER_CHECKSUM, FileLayout, in_row_groups, write_file

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "lists": pa.list_(pa.struct({"item": pa.string(), "score": pa.float32(), "rank": pa.int32()})),
        "scored_at": TIME,
    }
)
LAYOUT = FileLayout(SCHEMA, 10, "snappy")
START = dt.datetime(2026, 3, 1, 6, 0, 0, 123_456, dt.UTC)


def batch(first: int, rows: int) -> pa.RecordBatch:
    """Users from number `first` on, in order, each with a list of one item; the user 3 has none, and no time."""
    numbers = range(first, first + rows)
    lists = [None if number == 3 else [{"item": f"i{number}", "score": 0.5, "rank": 1}] for number in numbers]
    times = [None if number == 3 else START + dt.timedelta(seconds=number) for number in numbers]
    arrays = [pa.array([f"u{number:03}" for number in numbers]), pa.array(lists, SCHEMA.field("lists").type)]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(times, TIME)], SCHEMA.names)


@pytest.mark.parametrize("sizes", [[25], [1] * 25, [7, 0, 18], [10, 10, 5], [0, 3, 22]])
def test_row_groups_do_not_depend_on_the_batches(tmp_path: Path, sizes: list[int]) -> None:
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = [batch(start, size) for start, size in zip(starts, sizes, strict=True)]
    assert all(table.num_rows % 10 == 0 for table in list(in_row_groups(batches, LAYOUT))[:-1])
    written = write_file(batches, tmp_path / "ds=2026-03-01", 7, LAYOUT)
    assert written is not None
    assert written.path.startswith("ds=2026-03-01/part-00007-")
    file = pq.ParquetFile(tmp_path / written.path)
    assert [file.metadata.row_group(number).num_rows for number in range(3)] == [10, 10, 5]
    assert file.metadata.row_group(1).column(0).statistics.min == "u010"  # by which a look-up skips row groups
    stored = file.read()  # times as INT96, as Spark writes them, are read in nanoseconds
    stored = stored.set_column(2, "scored_at", stored["scored_at"].cast(TIME))
    assert stored.to_pylist() == batch(0, 25).to_pylist()
    assert (written.rows, written.bytes) == (25, (tmp_path / written.path).stat().st_size)


def test_statistics_are_those_of_delta(tmp_path: Path) -> None:
    written = write_file([batch(0, 4), batch(4, 21)], tmp_path / "ds=2026-03-01", 0, LAYOUT)
    assert written is not None
    assert json.loads(written.statistics) == {
        "numRecords": 25,
        "minValues": {"user_id": "u000", "scored_at": "2026-03-01T06:00:00.123Z"},
        "maxValues": {"user_id": "u024", "scored_at": "2026-03-01T06:00:24.123Z"},
        "nullCount": {"user_id": 0, "lists": 1, "scored_at": 1},
    }


def test_a_column_of_nulls_has_no_range(tmp_path: Path) -> None:
    written = write_file([batch(3, 1)], tmp_path / "ds=2026-03-01", 0, LAYOUT)
    assert written is not None
    assert json.loads(written.statistics)["minValues"] == {"user_id": "u003"}


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    assert write_file([], tmp_path / "ds=2026-03-01", 0, LAYOUT) is None
    assert write_file([batch(0, 0)], tmp_path / "ds=2026-03-01", 0, LAYOUT) is None
    assert not list(tmp_path.iterdir())


def test_a_task_that_runs_twice_writes_two_files(tmp_path: Path) -> None:
    written = [write_file([batch(0, 5)], tmp_path / "ds=2026-03-01", 0, LAYOUT) for _ in range(2)]
    assert len({file.path for file in written if file is not None}) == 2


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield batch(0, 20)
        (file,) = (tmp_path / "ds=2026-03-01").iterdir()
        assert file.stat().st_size > 100  # row groups are written as the batches come
        raise RuntimeError("the index is damaged")

    with pytest.raises(RuntimeError, match="the index is damaged"):
        write_file(failing(), tmp_path / "ds=2026-03-01", 0, LAYOUT)
    assert not list((tmp_path / "ds=2026-03-01").iterdir())


def test_hadoops_checksums_find_a_changed_byte(tmp_path: Path) -> None:
    """Read by the code that verifies the checksums which Hadoop writes for a log."""
    written = write_file([batch(0, 900)], tmp_path, 0, FileLayout(SCHEMA, 1_000, "none"))
    assert written is not None
    file = next(tmp_path.glob("part-*.parquet"))
    names = {path.name: path for path in tmp_path.iterdir()}
    local = fs.LocalFileSystem()
    storage = ArrowLogStorage(local, str(tmp_path), {n: local.get_file_info(str(p)) for n, p in names.items()})
    content = file.read_bytes()
    assert len(content) > 2 * BYTES_PER_CHECKSUM
    assert storage.read(file.name) == content
    file.write_bytes(content[:6_000] + bytes([content[6_000] ^ 1]) + content[6_001:])
    with pytest.raises(UnreadableFile, match="does not match its checksum"):
        storage.read(file.name)
