"""Damaged files, written by Spark and by pyarrow: each is found before the first step, and the error names the damage."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from model.data.pinned_files import PinnedFiles, RowCountMismatch
from model.data.verification import PinnedFileDamaged, check_files

COLUMNS = ("item_index", "history", "age", "name")
ROWS = 3000


def urls(folder: Path) -> tuple[str, ...]:
    return tuple(path.as_uri() for path in sorted(folder.glob("*.parquet")))


@pytest.fixture
def files(tmp_path: Path) -> PinnedFiles:
    """Three files written by pyarrow."""
    for number in range(3):
        table = pa.table({"item_index": range(100), "history": [[n, n] for n in range(100)], "age": [0.5] * 100})
        pq.write_table(table, tmp_path / f"part-{number}.parquet", row_group_size=30)
    return PinnedFiles(0, urls(tmp_path), 300)


def check(pinned: PinnedFiles, columns: Sequence[str] = ("item_index", "history", "age")) -> None:
    check_files("training_examples", pinned, columns)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garble_footer(path: Path) -> None:
    text = bytearray(path.read_bytes())
    start = len(text) - 8 - int.from_bytes(text[-8:-4], "little")
    text[start : start + 40] = b"\xff" * 40
    path.write_bytes(text)


def inflate_footer(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[:-8] + (10**9).to_bytes(4, "little") + text[-4:])


def lose_the_beginning(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[:4] + text[1000:])


DAMAGES: list[Any] = [
    pytest.param(Path.unlink, "it is missing", id="missing"),
    pytest.param(cut_short, "it is truncated", id="truncated"),
    pytest.param(lambda path: path.write_bytes(b""), "it is empty", id="empty"),
    pytest.param(lambda path: path.write_bytes(b"not a table" * 50), "it is not a Parquet file", id="garbage"),
    pytest.param(lambda path: path.write_bytes(b"PAR1"), "it is truncated", id="only the first bytes"),
    pytest.param(garble_footer, "its footer is not readable", id="a garbled footer"),
    pytest.param(
        inflate_footer, "its footer must fit into the file's .* got a length of 1000000008", id="a footer without end"
    ),
    pytest.param(lose_the_beginning, "damaged|beyond its end", id="its middle is missing"),
]


def test_undamaged_files_pass(files: PinnedFiles) -> None:
    check(files)
    check(PinnedFiles(0, (), 0))


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_file_is_named(
    files: PinnedFiles, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(tmp_path / "part-1.parquet")
    with pytest.raises(PinnedFileDamaged, match=f"training_examples .*part-1.parquet: .*(?:{message})"):
        check(files)


def test_the_first_damaged_file_is_named_and_the_others_are_counted(files: PinnedFiles, tmp_path: Path) -> None:
    (tmp_path / "part-1.parquet").unlink()
    cut_short(tmp_path / "part-2.parquet")
    with pytest.raises(PinnedFileDamaged, match=re.escape("part-1.parquet: it is missing (and 1 more of 3 files)")):
        check(files)


@pytest.mark.parametrize("rows", [299, 301])
def test_a_file_with_other_rows_is_refused(files: PinnedFiles, tmp_path: Path, rows: int) -> None:
    table = pq.read_table(tmp_path / "part-0.parquet")
    other = table.slice(0, 99) if rows < 300 else pa.concat_tables([table, table.slice(0, 1)])
    pq.write_table(other, tmp_path / "part-1.parquet")
    with pytest.raises(RowCountMismatch, match=f"the files must hold the pinned version's 300 rows, got {rows}"):
        check(files)


def test_a_file_without_a_column_is_named(files: PinnedFiles, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(tmp_path / "part-2.parquet").drop(["age"]), tmp_path / "part-2.parquet")
    with pytest.raises(PinnedFileDamaged, match=re.escape("part-2.parquet: it lacks the columns ['age']")):
        check(files)


def test_an_error_of_the_store_is_not_reported_as_damage(files: PinnedFiles, tmp_path: Path) -> None:
    (tmp_path / "part-1.parquet").unlink()
    (tmp_path / "part-1.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        check(files)


@pytest.fixture(scope="module")
def spark_file(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as in the lake: with dictionaries, lists, nulls, and several pages per column."""
    folder = tmp_path_factory.mktemp("spark")
    numbers = np.random.default_rng(0).integers(0, 1_000_000, ROWS).tolist()
    rows = [(n, [n, n + 1], None if n % 5 == 0 else n / 7, f"name {n % 9}", n) for n in numbers]
    frame = spark.createDataFrame(rows, "item_index int, history array<int>, age float, name string, unread long")
    frame.coalesce(1).write.option("parquet.page.row.count.limit", 1000).parquet(str(folder / "table"))
    (file,) = (folder / "table").glob("*.parquet")
    return file


@pytest.fixture
def one_file(spark_file: Path, tmp_path: Path) -> Path:
    """A copy without the checksum file that only Hadoop's local file system has."""
    return Path(shutil.copy(spark_file, tmp_path / "part-0.parquet"))


def flip(path: Path, text: bytes, offset: int, bit: int) -> None:
    changed = bytearray(text)
    changed[offset] ^= 1 << bit
    path.write_bytes(changed)


def span_of(text: bytes, column: str) -> tuple[int, int]:
    group = pq.ParquetFile(pa.BufferReader(text)).metadata.row_group(0)
    for chunk in (group.column(number) for number in range(group.num_columns)):
        if chunk.path_in_schema.split(".")[0] == column:
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            return start, start + chunk.total_compressed_size
    raise KeyError(column)


def reads(path: Path, column: str) -> pa.Table | None:
    try:
        return pq.read_table(path, columns=[column])
    except (OSError, pa.ArrowException):
        return None


@pytest.mark.parametrize("column", COLUMNS)
def test_a_flipped_bit_inside_a_page_is_found(one_file: Path, column: str) -> None:
    """pyarrow itself reads wrong rows from many such files without an error."""
    text, want = one_file.read_bytes(), reads(one_file, column)
    check(PinnedFiles(0, (one_file.as_uri(),), ROWS), COLUMNS)
    found = silent = 0
    draw = random.Random(0)
    for offset in draw.sample(range(*span_of(text, column)), 100):
        flip(one_file, text, offset, draw.randrange(8))
        got = reads(one_file, column)
        other = got is not None and got != want
        fault = ""
        try:
            check(PinnedFiles(0, (one_file.as_uri(),), ROWS), COLUMNS)
        except PinnedFileDamaged as error:
            fault = str(error)
        assert not other or f"column {column}" in fault
        found += fault != ""
        silent += other
    assert found >= 95
    assert silent > 0  # otherwise `parquet_pages` would not be needed


def test_a_column_that_is_not_read_is_not_verified(one_file: Path) -> None:
    text = one_file.read_bytes()
    start, end = span_of(text, "unread")
    flip(one_file, text, (start + end) // 2, 3)
    check(PinnedFiles(0, (one_file.as_uri(),), ROWS), COLUMNS)


def test_a_share_of_the_files_is_verified_and_others_each_day(files: PinnedFiles, tmp_path: Path) -> None:
    for path in tmp_path.glob("*.parquet"):
        flip(path, path.read_bytes(), span_of(path.read_bytes(), "age")[0] + 40, 3)
    columns = ("item_index", "age")
    check_files("training_examples", files, columns, share=0.0)  # footers only
    found = set()
    for day in range(100):
        try:
            check_files("training_examples", files, columns, share=0.3, day=day)
        except PinnedFileDamaged as error:
            found.add(re.findall(r"part-\d", str(error))[0])
    assert found == {"part-0", "part-1", "part-2"}
    with pytest.raises(PinnedFileDamaged):
        check_files("training_examples", files, columns, share=1.0)


def test_footers_are_verified_whatever_the_share(files: PinnedFiles, tmp_path: Path) -> None:
    cut_short(tmp_path / "part-1.parquet")
    with pytest.raises(PinnedFileDamaged, match=r"part-1\.parquet: it is truncated"):
        check_files("training_examples", files, ("age",), share=0.0)


def test_a_flipped_bit_in_the_footer_never_ends_in_a_crash(one_file: Path) -> None:
    """It is found, or it changes something that is not read here (statistics, names of other columns)."""
    text = one_file.read_bytes()
    first = len(text) - 8 - int.from_bytes(text[-8:-4], "little")
    draw = random.Random(0)
    for _ in range(300):
        flip(one_file, text, draw.randrange(first, len(text)), draw.randrange(8))
        with contextlib.suppress(PinnedFileDamaged, RowCountMismatch):
            check(PinnedFiles(0, (one_file.as_uri(),), ROWS), COLUMNS)


def test_a_thousand_files_are_verified_quickly(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_index": range(10)}), tmp_path / "part-0.parquet")
    pinned = PinnedFiles(0, ((tmp_path / "part-0.parquet").as_uri(),) * 1000, 10_000)
    start = time.perf_counter()
    check(pinned, ["item_index"])
    assert time.perf_counter() - start < 20
