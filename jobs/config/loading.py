"""The configuration: one TOML file, validated once at the edge. `recall.toml` says what each key means."""

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
    LakeUse,
    Log,
    Model,
    Negatives,
    Pool,
    Scoring,
    Tracking,
    Training,
)
from model.training.limits import MIN_LEARNED_TEMPERATURE

# Sections that say what is in the tables, which all models share.
SHARED = frozenset({"lake", "log", "examples", "pool", "exclusions", "features"})
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Config(Section):
    lake: LakeUse
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
    def lists_are_long_enough(self) -> Config:
        if max(self.evaluation.cutoffs) > self.scoring.candidates_per_user:
            raise ValueError(
                f"evaluation.cutoffs {list(self.evaluation.cutoffs)} goes beyond scoring.candidates_per_user "
                f"{self.scoring.candidates_per_user}"
            )
        return self

    @model_validator(mode="after")
    def shared_tables_fit(self) -> Config:
        own = next((feature.dim for feature in self.features.item if feature.kind == "id"), None)
        wrong = [f.name for f in self.features.user if f.kind == "item_list" and f.dim != own]
        if self.model.share_item_table and wrong:
            wanted = "no item_id feature is declared" if own is None else f"item_id has dim {own}"
            raise ValueError(f"model.share_item_table: {wrong} want the dim of item_id, and {wanted}")
        return self

    @model_validator(mode="after")
    def what_is_masked_is_known(self) -> Config:
        if self.negatives.mask == "history" and not self.features.history_length:
            raise ValueError('negatives.mask = "history" wants a user feature named history, and none is declared')
        return self

    @model_validator(mode="after")
    def scoring_goes_by_declared_features(self) -> Config:
        for side, key in (("user", "segment_feature"), ("item", "category_feature")):
            name = getattr(self.scoring, key)
            longest = 1 if side == "user" else 1_000  # of an item's list its first value counts
            features = [f for f in getattr(self.features, side) if f.kind == "categorical" and f.length <= longest]
            fit = [feature.name for feature in features]
            if name and name not in fit:
                raise ValueError(f"scoring.{key} wants a categorical feature of features.{side} ({fit}), got {name!r}")
        if self.scoring.explore_quota and not self.model.item_id_dropout:
            raise ValueError(
                "scoring.explore_quota wants model.item_id_dropout above 0: else no vector without an id was trained"
            )
        return self

    @model_validator(mode="after")
    def row_negatives_are_kept(self) -> Config:
        if self.negatives.row > self.examples.unclicked_per_example:
            raise ValueError(
                f"negatives.row must be at most examples.unclicked_per_example "
                f"({self.examples.unclicked_per_example}), got {self.negatives.row}"
            )
        return self

    @model_validator(mode="after")
    def temperature_can_be_learned(self) -> Config:
        if self.training.learn_temperature and self.training.temperature < MIN_LEARNED_TEMPERATURE:
            floor, got = f"{MIN_LEARNED_TEMPERATURE}".lstrip("0"), self.training.temperature
            raise ValueError(f"training.temperature wants {floor} or more to be learned, got {got}")
        return self

    def of_variant(self, name: str | None) -> Config:
        """This configuration with the overrides of `[variants.NAME]`; None is the main model's."""
        if name is None:
            return self
        if name not in self.variants:
            raise ValueError(f"no variant {name!r} in the configuration; it has {sorted(self.variants)}")
        if shared := SHARED.intersection(self.variants[name]):
            raise ValueError(f"variants.{name}: the tables of {sorted(shared)} are shared by all models")
        if "segment_feature" in self.variants[name].get("scoring", {}):
            raise ValueError(
                f"variants.{name}: scoring.segment_feature must not be overridden, all models share popular_items"
            )
        return Config.model_validate(merge(self.model_dump(), self.variants[name]))


def merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def default_path() -> Path | zipfile.Path:
    """recall.toml: beside the packages in a checkout or a zip, under share/ where they are installed."""
    code = Path(__file__).resolve().parents[2]
    beside = zipfile.Path(code, "recall.toml") if code.is_file() else code / "recall.toml"
    return beside if beside.exists() else Path(sys.prefix) / "share" / "batch-recall" / "recall.toml"


def load_config(path: str | Path | None = None) -> Config:
    """The configuration of `path` laid over the default one.

    Raises ValueError with the key, what was got and what was wanted.
    """
    try:
        values = tomllib.loads(default_path().read_text(encoding="utf-8"))
        if path is not None:
            values = merge(values, tomllib.loads(Path(path).read_text("utf-8")))
        config = Config.model_validate(values)
        for name in config.variants:
            config.of_variant(name)
        return config
    except ValidationError as error:
        faults = (_message(fault) for fault in error.errors(include_url=False))
        raise ValueError(f"configuration {path or default_path()}: " + "; ".join(faults)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"configuration {path or default_path()} cannot be read: {error}") from error


def _message(fault: Any) -> str:
    """One validation error as text, without values that may hold a secret (whole sections, and all of `tracking`)."""
    key, value = ".".join(map(str, fault["loc"])), fault["input"]
    if fault["type"] == "extra_forbidden":
        return f"{key}: renamed to {RENAMED_KEYS[key]}" if key in RENAMED_KEYS else f"{key}: no such key"
    text = ": ".join(filter(None, (key, fault["msg"])))
    # a fault between sections is found in the whole configuration, and a variant may hold any section
    secret = isinstance(value, dict) or fault["loc"][0] in ("tracking", "variants")
    return text if secret else f"{text}, got {value!r}"


def config_argument(path: str) -> str:
    """The path of a sound configuration, as an argparse type."""
    try:
        load_config(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path
