"""The configuration: recall.toml and overlays, validated once when a job starts. `recall.toml` documents each key."""

from __future__ import annotations

import math
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from jobs.config.consistency import (
    check_cutoffs,
    check_explored_items,
    check_feature_names,
    check_history,
    check_interests,
    check_item_columns,
    check_item_table,
    check_learned_temperature,
    check_row_negatives,
    check_tuning_metric,
)
from jobs.config.features import Features, Section
from jobs.config.mapping import Mapping
from jobs.config.messages import message
from jobs.config.outputs import Evaluation, Export, Gate, Reconciliation, Report
from jobs.config.retention import Retention, check_retention
from jobs.config.sections import (
    Examples,
    Exclusions,
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

# Sections that describe the tables which all variants share; a variant must not override them.
SHARED_SECTIONS = frozenset(
    {
        "lake",
        "log",
        "examples",
        "pool",
        "exclusions",
        "export",
        "features",
        "mapping",
        "neighbours",
        "reconciliation",
        "report",
        "retention",
    }
)
PACKED = ("movielens",)  # overlays that are packed with the code, by name
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


@dataclass(frozen=True)
class OverlayText:
    """An overlay that is not a file, such as settings that a lake has recorded. name: what messages call it."""

    name: str
    text: str

    def __str__(self) -> str:
        return self.name

    def values(self) -> dict[str, Any]:
        """Raises ValueError if the text is not TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"configuration {self.name} cannot be read: {error}") from error


class Config(Section):
    """All sections. Each section validates itself; `jobs.config.consistency` compares them with each other."""

    lake: LakeAccess
    log: Log
    mapping: Mapping
    reconciliation: Reconciliation
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
    export: Export
    report: Report
    variants: dict[VariantName, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def sections_agree(self) -> Config:
        check_cutoffs(self.evaluation, self.scoring)
        check_tuning_metric(self.tuning, self.held_out_cutoffs)
        check_retention(self.retention, self.log, self.training)
        check_item_table(self.model, self.features)
        check_interests(self.model, self.features)
        check_history(self.features, self.negatives, self.scoring)
        check_feature_names(self.scoring, self.features)
        check_item_columns(self.report, self.features)
        check_explored_items(self.scoring, self.model)
        check_row_negatives(self.negatives, self.examples)
        check_learned_temperature(self.training)
        return self

    @property
    def held_out_cutoffs(self) -> tuple[int, int]:
        """The list lengths of the recall on the held-out day, the shorter one first."""
        pair = self.evaluation.held_out_cutoffs or self.evaluation.cutoffs
        return pair[0], pair[-1]

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


def _overlay(overlay: str | Path | OverlayText) -> dict[str, Any]:
    """The values of a TOML file, of one that is packed beside this module, or of a text."""
    if isinstance(overlay, OverlayText):
        return overlay.values()
    packed = files("jobs.config").joinpath(f"{overlay}.toml")
    return _read(packed if overlay in PACKED else Path(overlay))


def load_config(*overlays: str | Path | OverlayText) -> Config:
    """The default configuration, overridden by the values of each overlay in turn. Variants are validated as well.

    overlays: TOML files, names in PACKED, or texts. Raises ValueError that names the key, its value and its rule.
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
