"""The declared features: what each tower reads about a user or an item. Their kinds are in `model.features.kinds`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from model.features import Feature
from model.features.kinds import feature_kind

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
MAX_DAYS = 36_500  # a hundred years: days before that are no dates
Days = Annotated[int, Field(ge=1, le=MAX_DAYS)]
HISTORY = "history"  # the user feature that is built from the user's clicks instead of being logged
NAME = r"[a-z][a-z0-9_]{0,62}"
MIN_BUCKETS, MAX_HASHES = 16, 8  # of a hashed id
RESERVED = {
    "ds",
    "user_index",
    "item_index",
    "available",
    "published_at",
    "first_seen",
    "last_seen",
    "user_id",
    "item_id",
    "impression_id",
    "impressed_at",
    "unclicked",
    "outcome_final_at",
    "weight",
    "epoch_day",
    "history_gaps",
    "clicked_minutes",
}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic reads true as 1 and "5" as 5; a limit of 1 is not what someone wants who writes true."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if kind in (int, float) and isinstance(value, bool | str):
            raise ValueError("must be a number")
        return value


def checked_feature(feature: Feature) -> Feature:
    """Raises ValueError for a name, kind, size or length that a declared feature cannot have."""
    if not re.fullmatch(NAME, feature.name):
        raise ValueError(f"name must match {NAME}, got {feature.name!r}")
    for key in ("dim", "length"):
        if getattr(feature, key) < 1:
            raise ValueError(f"{key} of feature {feature.name} must be at least 1, got {getattr(feature, key)}")
    if feature.is_hashed and (feature.buckets < MIN_BUCKETS or not 1 <= feature.hashes <= MAX_HASHES):
        raise ValueError(
            f"buckets of feature {feature.name} must be at least {MIN_BUCKETS} and hashes from 1 to {MAX_HASHES}, got "
            f"{feature.buckets} and {feature.hashes}"
        )
    if not feature.is_hashed and (feature.buckets or feature.hashes != Feature.hashes):
        key = "buckets" if feature.buckets else "hashes"
        raise ValueError(f"{key} of feature {feature.name} require kind hashed_id, got kind {feature.kind}")
    if feature.is_gaps:
        raise ValueError(f"gaps are no feature of their own: set gaps = true of {HISTORY}, got {feature.name}")
    if feature.gaps and feature.name != HISTORY:
        raise ValueError(f"gaps must be false of all features but {HISTORY}, got true of {feature.name}")
    try:
        feature_kind(feature.kind).check_length(feature.length)
    except ValueError as error:
        raise ValueError(f"feature {feature.name} of kind {feature.kind}: {error}") from error
    return feature


DeclaredFeature = Annotated[Feature, AfterValidator(checked_feature)]


class Features(Section):
    user: tuple[DeclaredFeature, ...]
    item: tuple[DeclaredFeature, ...]

    @model_validator(mode="after")
    def check_names(self) -> Features:
        for side, features in (("user", self.user), ("item", self.item)):
            names = [feature.name for feature in features]
            if len(set(names)) != len(names) or not names:
                raise ValueError(f"features.{side} must be one or more features with distinct names, got {names}")
            for feature in features:
                if feature.is_id != (feature.name == f"{side}_id"):
                    raise ValueError(f"the only feature of kind id in features.{side} must be {side}_id, got {feature}")
                if not feature.is_id and feature.name in RESERVED:
                    raise ValueError(f"features.{side} must not have a feature named like the column {feature.name}")
        if hashed := [feature for feature in self.item if feature.is_hashed]:
            raise ValueError(f"a feature of kind hashed_id must be one of features.user, got {hashed[0]}")
        for feature in self.user:
            if feature.is_derived:
                raise ValueError(f"a feature of kind {feature.kind} must be one of features.item, got {feature}")
        for feature in (*self.user, *self.item):
            if feature.name == HISTORY and (feature.kind != "item_list" or feature in self.item):
                got = "an item feature" if feature in self.item else f"kind {feature.kind}"
                raise ValueError(f"history must be a user feature of kind item_list, got {got}")
        return self

    def of(self, side: str) -> tuple[Feature, ...]:
        """The features of one side: user | item."""
        return {"user": self.user, "item": self.item}[side]

    @property
    def history_length(self) -> int:
        """Clicks in a user's history; 0 if no tower reads it."""
        return next((feature.length for feature in self.user if feature.name == HISTORY), 0)

    @property
    def has_gaps(self) -> bool:
        """Whether the times of the clicks in the history are stored and read."""
        return any(feature.gaps for feature in self.user)


def logged_features(features: Iterable[Feature]) -> list[Feature]:
    """The features whose values are in the raw log: all but the id and the history."""
    return [feature for feature in features if feature.is_logged and feature.name != HISTORY]


def stored_features(features: Iterable[Feature]) -> list[Feature]:
    """The features that the snapshots have: the logged ones, and those of items that are derived."""
    return [feature for feature in features if (feature.is_logged or feature.is_derived) and feature.name != HISTORY]
