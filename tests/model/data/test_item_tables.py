"""Tables with one row per item, read from real Parquet files into tensors. Axis: I item indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.data.item_tables import ItemVersions, item_column, item_table, item_versions
from model.data.parquet_files import read_files
from model.data.pinned_files import PinnedFiles, RowCountMismatch
from model.features import FeatureSpec
from tests.model.data.numbered_rows import write

YEAR = FeatureSpec("year", "numeric", 2, 1, "year", None)
GENRES = FeatureSpec("genres", "categorical", 4, 2, "genres", "item.genres")


def items(indices: list[int | None]) -> pa.Table:
    """Item index n: year 1900 + n, genres [n, 0], q n / 10."""
    return pa.table(
        {
            "item_index": pa.array(indices, pa.int32()),
            "year": pa.array([1900 + (n or 0) for n in indices], pa.float32()),
            "genres": pa.array([[abs(n or 0), 0] for n in indices], pa.list_(pa.int32())),
            "q": pa.array([(n or 0) / 10 for n in indices], pa.float64()),
        }
    )


def item_files(folder: Path, *indices: list[Any]) -> PinnedFiles:
    files = write(folder, [items(part) for part in indices], 2)
    return PinnedFiles(0, files, sum(len(part) for part in indices))


def test_rows_are_placed_at_their_item_indices(tmp_path: Path) -> None:
    rows = item_files(tmp_path, [4, 2, 5], [6])
    table = item_table(rows, [YEAR, GENRES], 8)
    nan = float("nan")
    np.testing.assert_array_equal(table["year"].numpy(), [nan, nan, 1902, nan, 1904, 1905, 1906, nan])
    assert table["genres"][:, 0].tolist() == [0, 0, 2, 0, 4, 5, 6, 0]
    q = item_column(rows, "q", 8)
    assert q.dtype == torch.float64
    assert q.tolist() == [0, 0, 0.2, 0, 0.4, 0.5, 0.6, 0]


def test_rows_are_counted_even_if_no_feature_is_read(tmp_path: Path) -> None:
    rows = item_files(tmp_path, [4, 2])
    assert item_table(rows, [], 8) == {}
    with pytest.raises(RowCountMismatch):
        item_table(PinnedFiles(0, rows.files, 3), [], 8)


def read_item_table(rows: PinnedFiles) -> None:
    item_table(rows, [YEAR], 8)


def read_item_column(rows: PinnedFiles) -> None:
    item_column(rows, "q", 8)


@pytest.mark.parametrize("read", [read_item_table, read_item_column])
@pytest.mark.parametrize(
    ("indices", "wrong", "match"),
    [
        pytest.param([[2, 3]], 1, "the files must hold the pinned version's 3 rows, got 2", id="a row is missing"),
        pytest.param([[2], [3]], -1, "the files must hold the pinned version's 1 rows, got 2", id="a row too many"),
        pytest.param([[2, 8]], 0, "item indices must be below 8, got 8", id="an index beyond the vocabulary"),
        pytest.param([[2, -1]], 0, "feature item_index must be indices of 0 or more, got -1", id="a negative index"),
        pytest.param([[2, None]], 0, "feature item_index must be indices without nulls", id="a null index"),
        pytest.param([[2, 3], [3]], 0, "each item must have one row, got 2 of item index 3", id="an item twice"),
    ],
)
def test_invalid_item_rows_are_refused(
    tmp_path: Path, read: Any, indices: list[list[Any]], wrong: int, match: str
) -> None:
    rows = item_files(tmp_path, *indices)
    with pytest.raises((ValueError, RowCountMismatch), match=match):
        read(PinnedFiles(0, rows.files, rows.rows + wrong))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks the columns \['p'\]"):
        item_column(item_files(tmp_path, [2]), "p", 8)


def test_files_are_read_as_one_table(tmp_path: Path) -> None:
    table = read_files(item_files(tmp_path, [4, 2], [6]).files)
    assert table.equals(items([4, 2, 6]))


def test_pinned_files_come_from_json() -> None:
    assert PinnedFiles.from_json({"version": 7, "files": ["file:///a"], "rows": 3}) == PinnedFiles(7, ("file:///a",), 3)


def test_an_item_has_the_features_of_the_next_change_from_the_day_on() -> None:
    """Compared with a loop over the changes, for days before, between and after them. Axes: C changes, N look-ups."""
    random = np.random.default_rng(0)
    changes = {(int(item), int(day)) for item, day in random.integers([2, 100], [40, 110], (80, 2))}
    items, days = (torch.tensor(column) for column in zip(*changes, strict=True))  # [C]
    versions = ItemVersions(50, items, days)
    asked = [(item, day) for item in range(50) for day in range(97, 114)]
    found = versions.rows(*(torch.tensor(column) for column in zip(*asked, strict=True)))  # [N]
    for (item, day), row in zip(asked, found.tolist(), strict=True):
        later = [(other, n) for n, (index, other) in enumerate(changes) if index == item and other >= day]
        assert row == (50 + min(later)[1] if later else item)


def test_without_changes_an_item_has_its_newest_features() -> None:
    items = torch.tensor([3, 1])
    assert ItemVersions(4).rows(items, torch.tensor([0, 9])) is items


def test_features_before_a_change_follow_the_newest(tmp_path: Path) -> None:
    (tmp_path / "changes").mkdir()
    day = pa.array([7, 9], pa.int32())
    parts = [items(part).append_column("epoch_day", day) for part in ([4, 2], [2, 5])]
    changes = PinnedFiles(0, write(tmp_path / "changes", [parts[0].slice(0, 1), parts[1]], 2), 3)
    table = item_table(item_files(tmp_path, [4, 2]), [YEAR, GENRES], 8, changes)
    assert table["year"][8:].tolist() == [1904, 1902, 1905]
    assert table["genres"][8:, 0].tolist() == [4, 2, 5]
    versions = item_versions(changes, 8)
    assert versions.items.tolist() == [4, 2, 5]
    assert versions.rows(torch.tensor([4, 4, 2, 5, 3]), torch.tensor([7, 8, 6, 9, 7])).tolist() == [8, 4, 9, 10, 3]
    with pytest.raises(RowCountMismatch, match="the pinned version's 4 rows, got 3"):
        item_versions(PinnedFiles(0, changes.files, 4), 8)
    twice = write(tmp_path, [parts[0].slice(0, 1), parts[0].slice(0, 1)], 2)
    with pytest.raises(ValueError, match="an item must have at most one change a day, got two"):
        item_versions(PinnedFiles(0, twice, 2), 8)
