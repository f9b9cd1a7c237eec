"""The configuration: one TOML file, validated once when a job starts. `recall.toml` documents each key."""

from __future__ import annotations

import argparse
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from jobs.config.features import Features, Section
from jobs.config.renamed_keys import RENAMED_KEYS
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
    Pool,
    Scoring,
    Tracking,
    Training,
)
from model.training.spec import MIN_LEARNED_TEMPERATURE

# Sections that describe the tables which all variants share; a variant must not override them.
SHARED_SECTIONS = frozenset({"lake", "log", "examples", "pool", "exclusions", "features"})
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Config(Section):
    """All sections. Each section validates itself; the validators below compare sections with each other."""

    lake: LakeAccess
    log: Log
    examples: Examples
    pool: Pool
    exclusions: Exclusions
    features: Features
    model: Model
    training: Training
    negatives: Negatives
    tracking: Tracking
    index: Index
    scoring: Scoring
    evaluation: Evaluation
    gate: Gate
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
        if self.scoring.explore_quota and not self.model.item_id_dropout:
            raise ValueError(
                "model.item_id_dropout must be above 0 where scoring.explore_quota is, got 0: "
                "without id dropout, the model never learns vectors for items without their id"
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

    def with_variant(self, name: str | None) -> Config:
        """This configuration with the overrides of `[variants.NAME]`; unchanged where `name` is None."""
        if name is None:
            return self
        if name not in self.variants:
            raise ValueError(f"variant must be one of {sorted(self.variants)}, got {name!r}")
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
    """The path of recall.toml: next to the packages in a checkout or a zip, under share/ in an installation."""
    code = Path(__file__).resolve().parents[2]
    beside = zipfile.Path(code, "recall.toml") if code.is_file() else code / "recall.toml"
    return beside if beside.exists() else Path(sys.prefix) / "share" / "batch-recall" / "recall.toml"


def load_config(path: str | Path | None = None) -> Config:
    """The default configuration, overridden by the values of the TOML file `path`. Variants are validated as well.

    Raises ValueError that names the key, its value and what it must be.
    """
    try:
        values = tomllib.loads(default_path().read_text(encoding="utf-8"))
        if path is not None:
            values = merge(values, tomllib.loads(Path(path).read_text("utf-8")))
        config = Config.model_validate(values)
        for name in config.variants:
            config.with_variant(name)
        return config
    except ValidationError as error:
        messages = (_message(details) for details in error.errors(include_url=False))
        raise ValueError(f"configuration {path or default_path()}: " + "; ".join(messages)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"configuration {path or default_path()} cannot be read: {error}") from error


def _message(details: Any) -> str:
    """One validation error as text, without values that may hold a secret (whole sections, and all of `tracking`)."""
    key, value = ".".join(map(str, details["loc"])), details["input"]
    if details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: renamed to {RENAMED_KEYS[key]}" if key in RENAMED_KEYS else f"{key}: no such key"
    text = ": ".join(filter(None, (key, details["msg"])))
    # the input of an error between sections is the whole configuration; a variant may contain any section
    may_be_secret = isinstance(value, dict) or details["loc"][0] in ("tracking", "variants")
    return text if may_be_secret else f"{text}, got {value!r}"


def config_argument(path: str) -> str:
    """The path of a valid configuration, as an argparse type."""
    try:
        load_config(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path
