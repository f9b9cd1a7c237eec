"""The specification of a model: its features, and the sizes of its towers. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


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
        return self.length > 1 or self.kind == "item_list"

    @property
    def holds_numbers(self) -> bool:
        """Floats, as against indices of a vocabulary."""
        return self.kind in ("numeric", "vector")


@dataclass(frozen=True)
class ModelSpec:
    """All that decides the shape of a model; JSON in, JSON out."""

    user: tuple[FeatureSpec, ...]
    item: tuple[FeatureSpec, ...]
    vocabulary_sizes: Mapping[str, int]  # number of indices, the two reserved ones included
    embedding_dim: int
    hidden: tuple[int, ...]
    share_item_table: bool = False  # lists of items read the table of the item tower's own id

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        sides = {side: tuple(FeatureSpec(**feature) for feature in values[side]) for side in ("user", "item")}
        return cls(**{**values, **sides, "hidden": tuple(values["hidden"])})


def columns(features: Sequence[FeatureSpec]) -> list[str]:
    return [feature.column for feature in features]
