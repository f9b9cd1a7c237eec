"""The section [tuning]: what `tune_two_tower` searches, and by what it judges."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from jobs.config.features import Count, Section
from jobs.config.sections import Model, Negatives, Training

SEARCHABLE = {"model": Model, "training": Training, "negatives": Negatives}  # sections of which keys can be searched
# Keys that decide what is measured, how long, or on which machine: trials have these in common.
FIXED = (
    {
        f"training.{name}"
        for name in ("seed", "epochs", "patience", "validation", "validation_rows", "start", "warm_epochs")
    }
    | {f"training.{name}" for name in ("device", "threads", "readers", "ranks", "launch", "checkpoint_steps")}
    | {"training.verified_share", "training.max_table_gb"}
    | {f"training.{name}" for name in ("min_held_back_share", "min_held_back_rows", "retrain_every_days")}
    | {"model.id_expiry_share"}
)


TakeOver = Literal["never", "by_hand", "gate"]  # how settings of a search come into force


class Range(Section):
    """All numbers from `low` to `high`; whole numbers if both are. log: small and large values are tried as often."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def ends_ascend(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, got {self.low}")
        return self

    def contains(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class Tuning(Section):
    take_over: TakeOver
    metric: str  # checked by `consistency.check_tuning_metric`
    max_epochs: Count
    space: dict[str, Range | list[str | bool | int | float]]

    @field_validator("space")
    @classmethod
    def keys_exist(cls, space: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        for key in space:
            section, _, name = key.partition(".")
            if name not in getattr(SEARCHABLE.get(section), "model_fields", {}):
                raise ValueError(f"must name keys of {', '.join(SEARCHABLE)}, as in training.temperature, got {key!r}")
            if key in FIXED:
                raise ValueError(f"must name keys that trials can vary, got {key!r}, which they have in common")
        return space

    @property
    def searched(self) -> dict[str, Range | list[Any]]:
        """The keys of the space that have values. Raises ValueError if none has."""
        found = {key: values for key, values in self.space.items() if values}
        if not found:
            raise ValueError("tuning.space must have a key with values, got none")
        return found
