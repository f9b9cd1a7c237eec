"""The specification of a model: its features, and the sizes of its towers. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from model.features.kinds import feature_kind


@dataclass(frozen=True)
class Feature:
    """A declared feature. kind: see `model.features.kinds`; dim: the size of its embedding; length: of a list.

    buckets, hashes: the rows of the table of a hashed id, and how many of them are summed for an id. gaps: whether the
    history is read together with the time between each click and the impression.
    """

    name: str
    kind: str
    dim: int
    length: int = 1
    buckets: int = field(default=0, kw_only=True)
    hashes: int = field(default=1, kw_only=True)
    gaps: bool = field(default=False, kw_only=True)

    @property
    def is_id(self) -> bool:
        """Whether the value is the user or the item itself."""
        return feature_kind(self.kind).is_id

    @property
    def is_hashed(self) -> bool:
        """Whether indices share the rows of a table."""
        return feature_kind(self.kind).is_hashed

    @property
    def is_list(self) -> bool:
        """Whether each value is an array of `length` elements."""
        return feature_kind(self.kind).is_list(self.length)

    @property
    def holds_numbers(self) -> bool:
        """Whether the values are floats; otherwise they are indices of a vocabulary."""
        return feature_kind(self.kind).holds_numbers

    @property
    def is_logged(self) -> bool:
        """Whether the raw log has a column with the values."""
        return feature_kind(self.kind).is_logged

    @property
    def is_derived(self) -> bool:
        """Whether the snapshots of items have the values, although the raw log has none."""
        return feature_kind(self.kind).derivation is not None

    @property
    def is_scaled(self) -> bool:
        """Whether the tower reads the numbers as they are, not by their mean and deviation."""
        return feature_kind(self.kind).is_scaled

    @property
    def counts_clicks(self) -> bool:
        """Whether the values are derived from recent clicks."""
        return feature_kind(self.kind).counts_clicks

    @property
    def is_day(self) -> bool:
        """Whether the stored values are days, of which the tower reads the age."""
        return feature_kind(self.kind).is_day

    @property
    def is_gaps(self) -> bool:
        """Whether the values are the gaps of a history, which its encoder reads together with the items."""
        return feature_kind(self.kind).is_gaps

    @property
    def gaps_name(self) -> str:
        """The name of the input, and the column, with the gaps of this history."""
        return f"{self.name}_gaps"


@dataclass(frozen=True)
class FeatureSpec(Feature):
    """An input of a tower: a feature, the column that it is read from, and the vocabulary of its indices."""

    column: str = ""
    vocabulary: str | None = None  # None for numbers

    @classmethod
    def declared(cls, feature: Feature, side: str) -> FeatureSpec:
        """The tower input of a declared feature. side: user | item."""
        kind = feature_kind(feature.kind)
        column, vocabulary = kind.column(side, feature.name), kind.vocabulary(side, feature.name)
        return cls(**{**asdict(feature), "column": column, "vocabulary": vocabulary})

    @classmethod
    def all_declared(cls, features: Sequence[Feature], side: str) -> tuple[FeatureSpec, ...]:
        """The tower inputs of the declared features of a side; a history with gaps is followed by them."""
        specs: list[FeatureSpec] = []
        for feature in features:
            specs.append(spec := cls.declared(feature, side))
            if spec.gaps:
                specs.append(cls(spec.gaps_name, "click_gaps", 0, spec.length, spec.gaps_name, None))
        return tuple(specs)


@dataclass(frozen=True)
class ModelSpec:
    """Everything that determines the shape of a model; stored as JSON with the model."""

    user: tuple[FeatureSpec, ...]
    item: tuple[FeatureSpec, ...]
    vocabulary_sizes: Mapping[str, int]  # number of indices of each vocabulary, including padding and unknown
    embedding_dim: int
    hidden: tuple[int, ...]
    share_item_table: bool = False  # lists of items use the embedding table of the item tower's item_id
    user_encoder: str = "mean"  # how a user's list of items becomes one vector: see `model.towers.user_encoders`
    item_id_shrinkage: float = 0.0  # training rows at which half of an item id's embedding is its own; 0: all of it
    table_rows: Mapping[str, int] = field(default_factory=dict)  # of a vocabulary whose indices do not all have a row
    interests: int = 1  # query embeddings of a user

    @property
    def table_sizes(self) -> dict[str, int]:
        """The number of rows of the embedding tables of each vocabulary."""
        return {**self.vocabulary_sizes, **self.table_rows}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        sides = {side: tuple(FeatureSpec(**feature) for feature in values[side]) for side in ("user", "item")}
        return cls(**{**values, **sides, "hidden": tuple(values["hidden"])})


def columns(features: Sequence[FeatureSpec]) -> list[str]:
    """The columns that the features are read from."""
    return [feature.column for feature in features]
