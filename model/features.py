"""What the towers read: declared features, and the way from Arrow columns to tensors.

Axis letters: B rows, L length of a list feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

PADDING, UNKNOWN = 0, 1  # the first two indices of every vocabulary; an unknown value has a trained embedding


@dataclass(frozen=True)
class FeatureSpec:
    """One input of a tower. `column` is where it lies in a table, `vocabulary` whose indices it holds.

    kind: id | categorical | numeric | item_list | vector; length > 1 is a list padded with 0; dim is the
    embedding's size.
    """

    name: str
    kind: str
    dim: int
    length: int
    column: str
    vocabulary: str | None

    @property
    def is_list(self) -> bool:
        return self.length > 1


@dataclass(frozen=True)
class ModelSpec:
    """All that decides the shape of a model; JSON in, JSON out."""

    user: tuple[FeatureSpec, ...]
    item: tuple[FeatureSpec, ...]
    vocabulary_sizes: Mapping[str, int]  # number of indices, the two reserved ones included
    embedding_dim: int
    hidden: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        sides = {side: tuple(FeatureSpec(**feature) for feature in values[side]) for side in ("user", "item")}
        return cls(**{**values, **sides, "hidden": tuple(values["hidden"])})


def columns(features: Sequence[FeatureSpec]) -> list[str]:
    return [feature.column for feature in features]


def tensors(
    rows: pa.RecordBatch | pa.Table | Mapping[str, np.ndarray], features: Sequence[FeatureSpec]
) -> dict[str, Tensor]:
    """Each feature's tensor by name: int64 [B] or [B, L] of indices, float32 [B] or [B, L] of numbers (null is NaN).

    Raises ValueError where a list column is not everywhere as long as its feature says.
    """
    return {feature.name: torch.from_numpy(_array(rows, feature)) for feature in features}


def _array(rows: pa.RecordBatch | pa.Table | Mapping[str, np.ndarray], feature: FeatureSpec) -> np.ndarray:
    values = rows[feature.column]
    if isinstance(values, np.ndarray):
        array = np.stack(values.tolist()) if values.dtype == object else values  # [B] or [B, L]
    else:
        array = _from_arrow(values, feature)  # [B] or [B, L]
    want = (len(array), feature.length) if feature.is_list else (len(array),)
    if array.shape != want:
        raise ValueError(f"feature {feature.name} wants shape {want}, got {array.shape}")
    array = np.ascontiguousarray(array, dtype=np.float32 if feature.kind in ("numeric", "vector") else np.int64)
    return array if array.flags.writeable else array.copy()  # torch wants memory that it may write


def _from_arrow(column: pa.Array | pa.ChunkedArray, feature: FeatureSpec) -> np.ndarray:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not feature.is_list:
        return column.to_numpy(zero_copy_only=False)  # [B]
    lengths = np.diff(column.offsets.to_numpy())
    if column.null_count or not np.all(lengths == feature.length):
        raise ValueError(
            f"feature {feature.name} wants lists of {feature.length}, got lengths {np.unique(lengths)[:5]}"
        )
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), feature.length)  # [B, L]
