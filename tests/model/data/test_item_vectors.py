"""Vectors of items that are read from Parquet files into a memory-mapped file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.item_vectors import dimension_of, sorted_vectors

Row = tuple[int, bool, list[float] | None]


def written(folder: Path, *files: Sequence[Row]) -> list[str]:
    urls = []
    for number, rows in enumerate(files):
        indices, available, vectors = zip(*rows, strict=True) if rows else ((), (), ())
        columns = {
            "item_index": pa.array(indices, pa.int32()),
            "available": pa.array(available, pa.bool_()),
            "embedding": pa.array(vectors, pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
        urls.append((folder / f"{number}.parquet").as_uri())
    return urls


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_vectors_are_sorted_by_item_and_memory_mapped(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.data.item_vectors.ROWS_AT_ONCE", batch)
    first: list[Row] = [(9, True, [9, 0.5]), (4, False, [4, 0.5]), (7, True, None)]
    urls = written(tmp_path, first, [], [(2, True, [2, 0.25]), (5, True, [5, 0.25])])
    matrix, items = sorted_vectors(urls, "embedding", tmp_path, 2)
    assert items.tolist() == [2, 4, 5, 9]
    assert items.dtype == np.int64
    assert matrix.tolist() == [[2, 0.25], [4, 0.5], [5, 0.25], [9, 0.5]]
    assert matrix.dtype == np.float32
    assert isinstance(matrix.base, np.memmap)
    matrix, items = sorted_vectors(urls, "embedding", tmp_path, 2, "available")
    assert (items.tolist(), matrix[:, 0].tolist()) == ([2, 5, 9], [2, 5, 9])


def test_sorted_rows_are_written_once(tmp_path: Path) -> None:
    urls = written(tmp_path, [(1, True, [1.0]), (3, True, [3.0])])
    matrix, items = sorted_vectors(urls, "embedding", tmp_path, 1)
    assert (items.tolist(), matrix.tolist()) == ([1, 3], [[1.0], [3.0]])
    assert {path.name for path in tmp_path.iterdir()} == {"0.parquet", "embedding.unsorted"}


def test_without_vectors_the_matrix_is_empty(tmp_path: Path) -> None:
    urls = written(tmp_path, [(1, True, None), (2, False, [1.0, 2.0, 3.0])], [])
    assert dimension_of(urls, "embedding") == 3
    matrix, items = sorted_vectors(urls, "embedding", tmp_path, 3, "available")
    assert (matrix.shape, items.shape) == ((0, 3), (0,))
    assert dimension_of(written(tmp_path, []), "embedding") == 1


def test_vectors_of_another_dimension_are_refused(tmp_path: Path) -> None:
    urls = written(tmp_path, [(1, True, [1.0, 2.0]), (2, True, [1.0])])
    with pytest.raises(ValueError, match="vectors must have 2 dimensions, got 1"):
        sorted_vectors(urls, "embedding", tmp_path, 2)
    with pytest.raises(ValueError, match=r"lacks the columns \['feature_embedding'\]"):
        sorted_vectors(urls, "feature_embedding", tmp_path, 2)
