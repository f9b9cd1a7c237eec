"""Parquet files on which an epoch ends with an error: lost or damaged rows, and columns that do not fit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from model.data import loaders
from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.pinned_files import PinnedFiles, RowCountMismatch
from tests.model.data.numbered_rows import IMAGE, batches, examples, pinned, whole, write


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_row_count_is_an_error_at_the_end_of_the_epoch(tmp_path: Path, wrong: int) -> None:
    rows = pinned(tmp_path, [60, 60], 5)
    read = batches(PinnedFiles(0, rows.files, rows.rows + wrong))
    assert len(list(itertools.islice(read, 14))) == 14
    with pytest.raises(RowCountMismatch, match=f"an epoch read 120 rows, the pinned version holds {120 + wrong}"):
        list(read)


def test_a_reader_that_ends_early_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pinned(tmp_path, [60, 60], 5)
    through, read = loaders._ArrowTables.read_next, itertools.count()

    def ends_early(self: Any, *args: Any) -> Any:
        if next(read) == 20:
            raise StopIteration
        return through(self, *args)

    monkeypatch.setattr(loaders._ArrowTables, "read_next", ends_early)
    with pytest.raises(RowCountMismatch, match="an epoch read 100 rows"):
        list(batches(rows))


def test_a_file_that_is_listed_twice_is_an_error(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [20, 20], 5)
    with pytest.raises(RowCountMismatch, match="read 60 rows"):
        list(batches(PinnedFiles(0, (*rows.files, rows.files[0]), 40)))


def remove(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, cut_short, empty])
def test_a_damaged_file_stops_the_epoch_before_its_first_batch(tmp_path: Path, damage: Any) -> None:
    rows = pinned(tmp_path, [60] * 3, 5)
    damage(tmp_path / "ds=2026-03-01" / "part-2.parquet")
    with pytest.raises((OSError, pa.ArrowInvalid)):
        next(batches(rows))


def test_lists_of_another_length_stop_the_epoch(tmp_path: Path) -> None:
    table = examples(0, 4).set_column(2, "history", pa.array([[1, 2, 3], [1, 2], [1, 2, 3, 4], [1, 2, 3]]))
    with pytest.raises(ValueError, match="feature history must be lists of 3"):
        list(batches(PinnedFiles(0, write(tmp_path, [table], 4), 4)))


def test_a_null_index_stops_the_epoch(tmp_path: Path) -> None:
    table = examples(0, 3).set_column(1, "item_index", pa.array([1, None, 3], pa.int32()))
    with pytest.raises(ValueError, match="feature item_index must be indices without nulls"):
        list(batches(PinnedFiles(0, write(tmp_path, [table], 3), 3)))


def test_a_missing_column_stops_the_epoch(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [4], 4)
    with pytest.raises(ValueError, match="feature image needs the column image"):
        list(epoch_batches(whole(rows), [ITEM_INDEX, IMAGE], seed=1))
