"""Arrow and NumPy columns as the tensors of declared features. Axes: B rows, L length of a list feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from model.features import FeatureSpec


def tensors(
    rows: pa.RecordBatch | pa.Table | Mapping[str, np.ndarray], features: Sequence[FeatureSpec]
) -> dict[str, Tensor]:
    """Each feature's tensor by name, [B] or [B, L]: int64 indices or float32 numbers. Raises what `arrays` raises."""
    return {name: tensor(array) for name, array in arrays(rows, features).items()}


def tensor(array: np.ndarray) -> Tensor:
    """The tensor of an array that `arrays` returned; indices become int64."""
    if array.dtype == np.int32:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch needs writable memory


def arrays(
    rows: pa.RecordBatch | pa.Table | Mapping[str, np.ndarray], features: Sequence[FeatureSpec]
) -> dict[str, np.ndarray]:
    """Each feature's array by name, [B] or [B, L]: float32 numbers, or indices of int32 (if the column is) or int64.

    Null numbers, and null lists of numbers, become NaN. Raises ValueError, with the feature's name, if its column is
    missing, if an index is null, negative or not an integer, or if a list has another length than the feature.
    """
    return {feature.name: _array(rows, feature) for feature in features}


def aged(values: Mapping[str, Tensor], features: Sequence[FeatureSpec], days: Tensor | int) -> dict[str, Tensor]:
    """The inputs of a tower as of a day: each stored day [N] becomes ln(1 + days since then), other values stay.

    days: since 1970-01-01, [N] or one for all. A day that is later counts as 0 days ago; one that is missing stays NaN.
    """
    ages = {f.name: (days - values[f.name]).clamp(min=0).log1p().float() for f in features if f.is_day}
    return {**values, **ages}


def _array(rows: pa.RecordBatch | pa.Table | Mapping[str, np.ndarray], feature: FeatureSpec) -> np.ndarray:
    try:
        values = rows[feature.column]
    except KeyError as error:
        raise ValueError(f"feature {feature.name} needs the column {feature.column}, which is missing") from error
    array = _from_numpy(values, feature) if isinstance(values, np.ndarray) else _from_arrow(values, feature)
    want = (len(array), feature.length) if feature.is_list else (len(array),)
    if array.shape != want:
        raise ValueError(f"feature {feature.name} must have shape {want}, got {array.shape}")
    return _numbers(array, feature) if feature.holds_numbers else _indices(array, feature)


def _from_numpy(values: np.ndarray, feature: FeatureSpec) -> np.ndarray:
    """[B], or [B, L] from an array of B lists."""
    if values.dtype != object:
        return values
    if not len(values):
        return np.empty((0, feature.length) if feature.is_list else 0, dtype=np.int64)
    missing = np.full(feature.length, np.nan) if feature.is_list else np.nan
    rows = [missing if row is None and feature.holds_numbers else row for row in values.tolist()]
    try:
        return np.stack(rows)
    except ValueError as error:
        raise ValueError(f"feature {feature.name} must be lists of {feature.length} without nulls: {error}") from error


def _from_arrow(column: pa.Array | pa.ChunkedArray, feature: FeatureSpec) -> np.ndarray:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not feature.is_list:
        return column.to_numpy(zero_copy_only=False)  # [B]
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ValueError(f"feature {feature.name} must be lists of {feature.length}, got {column.type}")
    there = column.is_valid().to_numpy(zero_copy_only=False)  # [B]
    lengths = np.diff(column.offsets.to_numpy())[there]
    if not np.all(lengths == feature.length):
        raise ValueError(f"feature {feature.name} must be lists of {feature.length}, got {np.unique(lengths)[:5]}")
    flat = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, feature.length)  # without null lists
    if there.all():
        return flat  # [B, L]
    array = np.full((len(column), feature.length), np.nan)  # [B, L]; `_indices` refuses NaN
    array[there] = flat
    return array


def _indices(array: np.ndarray, feature: FeatureSpec) -> np.ndarray:
    """int64 or int32. An integer column with nulls arrives as floats, whose NaNs must not be cast to indices."""
    if array.dtype.kind not in "iu":
        nulls = f" with {np.isnan(array).sum()} nulls" if array.dtype.kind == "f" else ""
        raise ValueError(f"feature {feature.name} must be indices without nulls, got {array.dtype}{nulls}")
    if array.size and array.min() < 0:
        raise ValueError(f"feature {feature.name} must be indices of 0 or more, got {array.min()}")
    return np.ascontiguousarray(array, dtype=np.int32 if array.dtype == np.int32 else np.int64)


def _numbers(array: np.ndarray, feature: FeatureSpec) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"feature {feature.name} must be numbers, got {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float32)
