"""The inputs of the user tower: what a value of each feature is, and values of users as tensors.

A value becomes what the tables of the lake have of it: an id or category without a row is unknown, a list is cut or
padded to its length, a number that is not finite is missing, minutes since a click become the index of their gap.

Axes: B users, L length of a list feature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real  # NumPy's too
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.features import FeatureSpec
from model.features.gaps import gap_index
from model.features.kinds import Numeric, Vector, feature_kind
from model.towers.online.ids import Vocabulary
from model.vocabulary import PADDING, UNKNOWN

GAPS = "click_gaps"  # the kind whose values are minutes
AS_IS = (Numeric.encoding, Vector.encoding)  # of kinds whose numbers are read as they are


@dataclass(frozen=True)
class Input:
    """One input of the exported user tower, as the manifest of its folder describes it.

    shape: of its tensor, "batch" or ["batch", L]. vocabulary: whose rows the values are, None for numbers. keeps: which
    elements of a longer list are read, "first" or "last". encoding: Spark SQL that made the numbers of a kind with an
    encoding of its own; a service must give its result instead of the raw value.
    """

    feature: str
    kind: str
    dtype: str
    shape: tuple[str | int, ...]
    vocabulary: str | None
    keeps: str | None
    encoding: str | None

    @classmethod
    def of_feature(cls, feature: FeatureSpec, history: str) -> Input:
        """history: the name of the feature that has the user's clicks, oldest first."""
        kind = feature_kind(feature.kind)
        shape: tuple[str | int, ...] = ("batch", feature.length) if feature.is_list else ("batch",)
        is_of_history = feature.name == history or feature.is_gaps
        keeps = ("last" if is_of_history else "first") if feature.is_list and not feature.holds_numbers else None
        has_own = feature.vocabulary is None and type(kind).encoding not in AS_IS
        encoding = kind.encoding(feature.column, feature.length) if has_own else None
        dtype = "float32" if feature.holds_numbers else "int64"
        return cls(feature.name, feature.kind, dtype, shape, feature.vocabulary, keeps, encoding)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Input:
        """Raises TypeError or KeyError if `values` is not what `to_json` returns."""
        return cls(**{**values, "shape": tuple(values["shape"])})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    def tensor(self, values: Sequence[Any], vocabulary: Vocabulary | None) -> Tensor:
        """The tensor [B] or [B, L] of the raw values of B users; None is a missing one.

        vocabulary: that of the feature, None for numbers. Raises ValueError for a value of another type.
        """
        length = [int(size) for size in self.shape[1:]]  # [L] or []
        missing = math.nan if self.dtype == "float32" else PADDING if length else UNKNOWN
        array = np.full((len(values), *length), missing, np.dtype(self.dtype))
        for row, value in enumerate(values):
            if value is None:
                continue
            if length:
                self._fill(array[row], self._list(value), vocabulary)
            else:
                array[row] = self._element(value, vocabulary)
        return torch.from_numpy(array)

    def _fill(self, row: np.ndarray, value: Sequence[Any], vocabulary: Vocabulary | None) -> None:
        length = len(row)
        if self.keeps is None and len(value) != length:
            return  # a vector of another length is missing
        value = value[-length:] if self.keeps == "last" else value[:length]
        row[: len(value)] = [self._element(element, vocabulary) for element in value]

    def _list(self, value: Any) -> Sequence[Any]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise ValueError(f"{self.feature} must be a list, got {value!r}")
        return value

    def _element(self, value: Any, vocabulary: Vocabulary | None) -> float:
        if vocabulary is not None:
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{self.feature} must be text, got {value!r}")
            return UNKNOWN if value is None else vocabulary.row(value)
        if self.kind == GAPS:
            return gap_index(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise ValueError(f"{self.feature} must be a number, got {value!r}")
        return math.nan if value is None else _as_float32(value)


def _as_float32(value: Real) -> float:
    """NaN for a number that is not finite as a float of 4 bytes."""
    try:
        with np.errstate(over="ignore"):
            number = float(np.float32(float(value)))
    except OverflowError:  # a large int
        return math.nan
    return number if math.isfinite(number) else math.nan
