"""The configuration: recall.toml and overlays, validated once when a job starts. `recall.toml` documents each key."""

from __future__ import annotations

import math
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from jobs.config.features import Features, Section
from jobs.config.mapping import Mapping
from jobs.config.messages import message
from jobs.config.retention import Retention, check_retention
from jobs.config.sections import (
    Evaluation,
    Examples,
    Exclusions,
    Gate,
    Index,
    LakeAccess,
    Log,
    Model,
    Negatives,
    Neighbours,
    Pool,
    Scoring,
    Tracking,
    Training,
)
from jobs.config.tuning import Tuning
from model.registry import did_you_mean
from model.training.spec import MIN_LEARNED_TEMPERATURE

# Sections that describe the tables which all variants share; a variant must not override them.
SHARED_SECTIONS = frozenset(
    {"lake", "log", "examples", "pool", "exclusions", "features", "mapping", "neighbours", "retention"}
)
PACKED = ("movielens",)  # overlays that are packed with the code, by name
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Config(Section):
    """All sections. Each section validates itself; the validators below compare sections with each other."""

    lake: LakeAccess
    log: Log
    mapping: Mapping
    examples: Examples
    pool: Pool
    exclusions: Exclusions
    features: Features
    model: Model
    training: Training
    negatives: Negatives
    tracking: Tracking
    neighbours: Neighbours
    index: Index
    scoring: Scoring
    evaluation: Evaluation
    gate: Gate
    tuning: Tuning
    retention: Retention
    variants: dict[VariantName, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def cutoffs_within_list_length(self) -> Config:
        cutoffs, length = self.evaluation.cutoffs, self.scoring.candidates_per_user
        if max(cutoffs) > length:
            raise ValueError(
                f"evaluation.cutoffs must be at most scoring.candidates_per_user ({length}), got {list(cutoffs)}"
            )
        return self

    @model_validator(mode="after")
    def retention_keeps_what_is_read(self) -> Config:
        check_retention(self.retention, self.log, self.training)
        return self

    @model_validator(mode="after")
    def shared_item_table_has_one_dim(self) -> Config:
        if not self.model.share_item_table:
            return self
        lists = [feature for feature in self.features.user if feature.kind == "item_list"]
        item_dims = [feature.dim for feature in self.features.item if feature.kind == "id"]  # one or none
        if lists and not item_dims:
            raise ValueError("model.share_item_table requires the item feature item_id, which is not declared")
        if wrong := {feature.name: feature.dim for feature in lists if feature.dim != item_dims[0]}:
            raise ValueError(f"model.share_item_table: dim must be that of item_id ({item_dims[0]}), got {wrong}")
        return self

    @model_validator(mode="after")
    def history_mask_has_a_history(self) -> Config:
        if self.negatives.mask == "history" and not self.features.history_length:
            raise ValueError(
                'negatives.mask = "history" requires the user feature named history, which is not declared'
            )
        return self

    @model_validator(mode="after")
    def segment_feature_is_declared(self) -> Config:
        name = self.scoring.segment_feature
        declared = [f.name for f in self.features.user if f.kind == "categorical" and f.length == 1]
        if name and name not in declared:
            raise ValueError(
                f"scoring.segment_feature must be a categorical feature of length 1 in features.user ({declared}), "
                f"got {name!r}"
            )
        return self

    @model_validator(mode="after")
    def category_feature_is_declared(self) -> Config:
        name = self.scoring.category_feature
        declared = [f.name for f in self.features.item if f.kind == "categorical"]
        if name and name not in declared:
            raise ValueError(
                f"scoring.category_feature must be a categorical feature in features.item ({declared}), got {name!r}"
            )
        return self

    @model_validator(mode="after")
    def explored_items_have_trained_vectors(self) -> Config:
        if self.scoring.explore_quota and not (self.model.item_id_dropout or self.model.item_id_shrinkage):
            raise ValueError(
                "model.item_id_dropout or model.item_id_shrinkage must be above 0 where scoring.explore_quota is, "
                "got 0 and 0: without both, the model never learns vectors for items without their id"
            )
        return self

    @model_validator(mode="after")
    def neighbours_have_a_history(self) -> Config:
        if self.scoring.neighbour_quota and not self.features.history_length:
            raise ValueError(
                "scoring.neighbour_quota above 0 requires the user feature named history, which is not declared"
            )
        return self

    @model_validator(mode="after")
    def row_negatives_are_in_the_examples(self) -> Config:
        available = self.examples.unclicked_per_example
        if self.negatives.row > available:
            raise ValueError(
                f"negatives.row must be at most examples.unclicked_per_example ({available}), got {self.negatives.row}"
            )
        return self

    @model_validator(mode="after")
    def learned_temperature_starts_high_enough(self) -> Config:
        temperature = self.training.temperature
        if self.training.learn_temperature and temperature < MIN_LEARNED_TEMPERATURE:
            raise ValueError(
                f"training.temperature must be at least {MIN_LEARNED_TEMPERATURE} where training.learn_temperature "
                f"is true, got {temperature}"
            )
        return self

    @property
    def recent_days(self) -> int:
        """An id keeps its embedding if an example of so many last days of the training window has it."""
        return math.ceil(round(self.model.id_expiry_share * self.log.examples_window_days, 6))

    @property
    def reads_neighbours(self) -> bool:
        """Whether lists of the model or of a variant have positions for neighbours of the clicked items."""
        return any(own.scoring.neighbour_quota for own in (self, *map(self.with_variant, self.variants)))

    def with_variant(self, name: str | None) -> Config:
        """This configuration with the overrides of `[variants.NAME]`; unchanged where `name` is None."""
        if name is None:
            return self
        if name not in self.variants:
            known = sorted(self.variants)
            raise ValueError(f"variant must be one of {known}, got {name!r}{did_you_mean(name, known)}")
        overrides = self.variants[name]
        if shared := SHARED_SECTIONS.intersection(overrides):
            raise ValueError(f"variants.{name} must not override {sorted(shared)}: all models share these tables")
        if "segment_feature" in overrides.get("scoring", {}):
            raise ValueError(f"variants.{name} must not override scoring.segment_feature: all models share its table")
        return Config.model_validate(merge(self.model_dump(), overrides))


def merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the values of `overrides`, table by table."""
    merged = dict(base)
    for key, value in overrides.items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both_tables else value
    return merged


def default_path() -> Path | zipfile.Path:
    """The path of recall.toml, next to the packages: in a checkout, a zip or an installation."""
    code = Path(__file__).resolve().parents[2]
    return zipfile.Path(code, "recall.toml") if code.is_file() else code / "recall.toml"


def _overlay(overlay: str | Path) -> dict[str, Any]:
    """The values of a TOML file, or of one that is packed beside this module."""
    packed = files("jobs.config").joinpath(f"{overlay}.toml")
    return _read(packed if overlay in PACKED else Path(overlay))


def load_config(*overlays: str | Path) -> Config:
    """The default configuration, overridden by the values of each overlay in turn. Variants are validated as well.

    overlays: TOML files, or names in PACKED. Raises ValueError that names the key, its value and what it must be.
    """
    defaults = _read(default_path())
    named = ", ".join(map(str, overlays)) or default_path()
    values = reduce(merge, map(_overlay, overlays), defaults)
    with validation_errors(f"configuration {named}: ", defaults):
        config = Config.model_validate(values)
    for name in config.variants:
        with validation_errors(f"configuration {named}: variants.{name}: ", defaults):
            config.with_variant(name)
    return config


@contextmanager
def validation_errors(where: str, defaults: dict[str, Any] | None = None) -> Iterator[None]:
    """Turn pydantic's error into a ValueError of one line."""
    try:
        yield
    except ValidationError as error:
        defaults = _read(default_path()) if defaults is None else defaults
        messages = (message(details, defaults) for details in error.errors(include_url=False))
        raise ValueError(where + "; ".join(messages)) from error


def _read(file: Path | Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"configuration {file} cannot be read: {error}") from error
