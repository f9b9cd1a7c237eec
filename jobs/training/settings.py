"""The fields of a training spec that come from the configuration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from jobs.config.loading import Config
from jobs.config.presets import negatives_of
from model.training.spec import DataSpec, LossSpec, RunSpec

CONFIGURATION = {"features", "model", "training", "negatives", "pool", "log", "examples", "exclusions"}


def spec_settings(config: Config, pool_is_empty: bool) -> dict[str, dict[str, Any]]:
    """For each part of a `TrainingSpec`, the fields that are keys of [training], [model], [scoring] or [negatives].

    Raises ValueError as `negatives_of` does.
    """
    return {
        "data": _settings(config, DataSpec),
        "loss": {**_settings(config, LossSpec), "negatives": negatives_of(config, pool_is_empty)},
        "run": _settings(config, RunSpec),
    }


def _settings(config: Config, part: type) -> dict[str, Any]:
    names = {field.name for field in fields(part)}
    sections = (config.training, config.model, config.scoring)
    return {name: value for section in sections for name, value in section.model_dump(include=names).items()}


def training_configuration(config: Config) -> dict[str, Any]:
    """The sections of the configuration that determine a trained model, and the keys of others that do."""
    sections = config.model_dump(mode="json", include=CONFIGURATION)
    return {**sections, "evaluation": {"held_out_cutoffs": [*config.held_out_cutoffs]}}  # they choose the epoch
