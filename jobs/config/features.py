"""The features that a configuration declares: what each tower reads of a user and of an item."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
HISTORY = "history"  # the user feature that is counted from the log, not read from it


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Feature(Section):
    """One declared input of a tower; see `model.features` for what becomes of each kind."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    kind: Literal["id", "categorical", "numeric", "item_list", "vector"]
    dim: Count
    length: Count = 1

    @model_validator(mode="after")
    def length_fits_kind(self) -> Feature:
        if self.kind in ("id", "numeric") and self.length != 1:
            raise ValueError(f"feature {self.name}: kind {self.kind} has length 1, got {self.length}")
        if self.kind in ("item_list", "vector") and self.length < 2:
            raise ValueError(f"feature {self.name}: kind {self.kind} wants a length of at least 2")
        return self


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
}


class Features(Section):
    user: tuple[Feature, ...]
    item: tuple[Feature, ...]

    @model_validator(mode="after")
    def names_are_sound(self) -> Features:
        for side, features in (("user", self.user), ("item", self.item)):
            names = [feature.name for feature in features]
            if len(set(names)) != len(names) or not names:
                raise ValueError(f"features.{side} wants one or more features with distinct names, got {names}")
            for feature in features:
                if (feature.kind == "id") != (feature.name == f"{side}_id"):
                    raise ValueError(f"the one feature of kind id in features.{side} is {side}_id, got {feature.name}")
                if feature.kind != "id" and feature.name in RESERVED:
                    raise ValueError(f"features.{side}: {feature.name} is a column of its own and no feature")
        if any(feature.name == HISTORY and feature.kind != "item_list" for feature in self.user):
            raise ValueError("the user feature named history is of kind item_list")
        if any(feature.name == HISTORY for feature in self.item):
            raise ValueError("history is a feature of users, not of items")
        return self

    @property
    def history_length(self) -> int:
        """Clicks kept in a user's history; 0 where no tower reads it."""
        return next((feature.length for feature in self.user if feature.name == HISTORY), 0)
