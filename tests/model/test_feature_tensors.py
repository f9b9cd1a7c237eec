"""Columns as Petastorm and Spark pass them: sliced, with nulls, and in a wrong shape."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.features import FeatureSpec, ModelSpec, columns
from model.features.tensors import tensors

USER = FeatureSpec("user_id", "id", 4, 1, "user_index", "user_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
HISTORY = FeatureSpec("history", "item_list", 4, 2, "history", "item_id")
IMAGE = FeatureSpec("image", "vector", 4, 2, "image", None)
ALL = (USER, AGE, HISTORY, IMAGE)
LISTS, VECTORS = pa.list_(pa.int32()), pa.list_(pa.float32())
ROWS = 6


def batch() -> pa.RecordBatch:
    """Row r: user r + 2, age r / 2, history [r, r + 10], image [r, -r]."""
    arrays = [
        pa.array([row + 2 for row in range(ROWS)], pa.int32()),
        pa.array([row / 2 for row in range(ROWS)], pa.float32()),
        pa.array([[row, row + 10] for row in range(ROWS)], LISTS),
        pa.array([[row, -row] for row in range(ROWS)], VECTORS),
    ]
    return pa.RecordBatch.from_arrays(arrays, ["user_index", "age", "history", "image"])


def check_rows(got: dict[str, torch.Tensor], rows: range) -> None:
    assert got["user_id"].tolist() == [row + 2 for row in rows]
    assert got["age"].tolist() == [row / 2 for row in rows]
    assert got["history"].tolist() == [[row, row + 10] for row in rows]
    assert got["image"].tolist() == [[row, -row] for row in rows]
    assert [got[feature.name].dtype for feature in ALL] == [torch.int64, torch.float32, torch.int64, torch.float32]


def of_arrow(values: list[Any], kind: pa.DataType, feature: FeatureSpec) -> torch.Tensor:
    rows = pa.RecordBatch.from_arrays([pa.array(values, kind)], [feature.column])
    return tensors(rows, [feature])[feature.name]


def of_lists(values: list[Any], feature: FeatureSpec) -> torch.Tensor:
    """An object array of lists, as Petastorm gives it."""
    array = np.empty(len(values), dtype=object)
    array[:] = [None if value is None else np.array(value) for value in values]
    return tensors({feature.column: array}, [feature])[feature.name]


def test_a_record_batch() -> None:
    check_rows(tensors(batch(), ALL), range(ROWS))


@pytest.mark.parametrize(("start", "length"), [(0, 3), (2, 3), (5, 1)])
def test_a_slice_of_a_record_batch_gives_its_own_rows(start: int, length: int) -> None:
    check_rows(tensors(batch().slice(start, length), ALL), range(start, start + length))


def test_a_slice_of_a_table_of_several_chunks() -> None:
    check_rows(tensors(pa.Table.from_batches([batch().slice(0, 4), batch().slice(4)]).slice(3, 3), ALL), range(3, 6))


def test_lists_with_64_bit_offsets() -> None:
    assert of_arrow([[1, 2], [3, 4]], pa.large_list(pa.int64()), HISTORY).tolist() == [[1, 2], [3, 4]]


def test_numpy_arrays_and_object_arrays_of_lists() -> None:
    lists = {name: np.empty(ROWS, dtype=object) for name in ("history", "image")}
    lists["history"][:] = [np.array([row, row + 10], np.int32) for row in range(ROWS)]
    lists["image"][:] = [np.array([row, -row], np.float32) for row in range(ROWS)]
    flat = {"user_index": np.arange(2, ROWS + 2, dtype=np.int32), "age": np.arange(ROWS) / 2}
    check_rows(tensors({**flat, **lists}, ALL), range(ROWS))


def test_a_numpy_matrix_is_a_list_column() -> None:
    assert tensors({"history": np.array([[1, 2], [3, 4]])}, [HISTORY])["history"].tolist() == [[1, 2], [3, 4]]


def test_no_rows_keep_their_shape() -> None:
    arrow = tensors(batch().slice(0, 0), ALL)
    numpy = tensors({"history": np.empty(0, dtype=object), "user_index": np.empty(0, np.int32)}, [HISTORY, USER])
    assert [tuple(arrow[feature.name].shape) for feature in ALL] == [(0,), (0,), (0, 2), (0, 2)]
    assert [tuple(numpy[name].shape) for name in ("user_id", "history")] == [(0,), (0, 2)]


def test_a_tensor_may_be_written_without_changing_the_batch() -> None:
    rows = pa.RecordBatch.from_arrays([pa.array([2, 3], pa.int64())], ["user_index"])
    tensors(rows, [USER])["user_id"].add_(1)
    assert rows["user_index"].to_pylist() == [2, 3]


@pytest.mark.parametrize(
    ("values", "kind", "feature"),
    [
        ([2, None], pa.int32(), USER),
        ([None, None], pa.null(), USER),
        ([[1, 2], [3, None]], LISTS, HISTORY),
        ([[1, 2], None], LISTS, HISTORY),
    ],
)
def test_a_null_index_is_refused(values: list[Any], kind: pa.DataType, feature: FeatureSpec) -> None:
    with pytest.raises(ValueError, match=f"feature {feature.name} must be .*null"):
        of_arrow(values, kind, feature)


def test_a_null_index_that_came_as_a_float_is_refused_and_counted() -> None:
    with pytest.raises(ValueError, match="feature user_id must be indices without nulls, got float64 with 2 nulls"):
        tensors({"user_index": np.array([2.0, np.nan, np.nan])}, [USER])


@pytest.mark.parametrize("lists", [[[1, 2], [3.0, np.nan]], [[1, 2], None]])
def test_a_null_in_an_object_array_of_indices_is_refused(lists: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"feature history must be .*null"):
        of_lists(lists, HISTORY)


@pytest.mark.parametrize("values", [np.array([1.5]), np.array(["3"]), np.array([True]), np.array([3, None])])
def test_an_index_that_is_no_integer_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="feature user_id must be indices without nulls, got"):
        tensors({"user_index": values}, [USER])


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="feature history must be indices of 0 or more, got -1"):
        of_arrow([[1, 2], [-1, 2]], LISTS, HISTORY)


def test_missing_numbers_are_nan() -> None:
    assert of_arrow([1.5, None], pa.float32(), AGE).isnan().tolist() == [False, True]
    assert of_arrow([1, None], pa.int32(), AGE).isnan().tolist() == [False, True]
    assert of_arrow([[1, None], [3, 4]], VECTORS, IMAGE).isnan().tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("lists", [[[1.0, 2.0], None, [5.0, 6.0]], [None, [1.0, 2.0]]])
def test_a_missing_vector_is_nan_throughout(lists: list[list[float] | None]) -> None:
    missing = torch.tensor([row is None for row in lists])
    for got in (of_arrow(lists, VECTORS, IMAGE), of_lists(lists, IMAGE)):
        assert bool(got[missing].isnan().all())
        assert got[~missing].tolist() == [row for row in lists if row is not None]


def test_a_missing_vector_in_a_slice() -> None:
    rows = pa.RecordBatch.from_arrays([pa.array([[9, 9], [1, 2], None, [5, 6], [8, 8]], VECTORS)], ["image"])
    got = tensors(rows.slice(1, 3), [IMAGE])["image"]
    assert got[[0, 2]].tolist() == [[1, 2], [5, 6]]
    assert got[1].isnan().all()


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="feature age must be numbers, got <U1"):
        tensors({"age": np.array(["7"])}, [AGE])


@pytest.mark.parametrize("lists", [[[1], [2]], [[1, 2, 3]], [[1], [2, 3, 4]]])  # the last have 2 on average
def test_lists_of_another_length_are_refused(lists: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="feature history must be lists of 2, got"):
        of_arrow(lists, LISTS, HISTORY)
    with pytest.raises(ValueError, match=r"feature history must (be|have) "):
        of_lists(lists, HISTORY)


def test_a_list_where_a_value_is_wanted_and_the_reverse_are_refused() -> None:
    with pytest.raises(ValueError, match="feature history must be lists of 2, got int32"):
        of_arrow([1, 2], pa.int32(), HISTORY)
    with pytest.raises(ValueError, match="feature user_id must be indices"):
        of_arrow([[1, 2], [3, 4]], LISTS, USER)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="feature user_id needs the column user_index"):
        tensors(batch().select(["age"]), [USER])
    with pytest.raises(ValueError, match="feature user_id needs the column user_index"):
        tensors({}, [USER])


def test_columns_are_named_in_the_order_of_the_features() -> None:
    assert columns(ALL) == ["user_index", "age", "history", "image"]


def test_a_specification_survives_json() -> None:
    item = FeatureSpec("item_id", "id", 4, 1, "item_index", "item_id")
    spec = ModelSpec(ALL, (item,), {"user_id": 9, "item_id": 12}, 4, (8, 6))
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
