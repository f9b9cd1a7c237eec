"""The settings that a search tries: drawn by Optuna from [tuning.space], as values of configuration keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.config.features import HISTORY
from jobs.config.loading import Config, merge, validation_errors
from jobs.config.tuning import Range
from model.features.user_encoders import ONE_VECTOR

if TYPE_CHECKING:
    from optuna import Trial

Settings = dict[str, Any]  # key of the configuration, as in training.temperature -> value
ENCODER = "model.user_encoder"
FEATURE_OF_KEY = {"model.user_id_dropout": "user_id", "model.history_dropout": HISTORY}  # without it a key does nothing


def searched(config: Config) -> dict[str, Range | list[Any]]:
    """The keys of the space that change something, with the values that can be valid. Raises ValueError without any."""
    features = {feature.name for feature in config.features.user}
    space = config.tuning.searched
    found = {key: values for key, values in space.items() if FEATURE_OF_KEY.get(key) in (None, *features)}
    encoders = found.get(ENCODER)
    if isinstance(encoders, list) and config.model.interests > 1:
        found[ENCODER] = [name for name in encoders if name not in ONE_VECTOR]
    found = {key: values for key, values in found.items() if values}
    if not found:
        raise ValueError(f"tuning.space must have a key that changes the model, got {', '.join(space)}")
    return found


def drawn(trial: Trial, space: Mapping[str, Range | list[Any]]) -> Settings:
    """The settings of a trial: a value for each key of the space."""
    return {key: _drawn(trial, key, values) for key, values in space.items()}


def _drawn(trial: Trial, key: str, values: Range | list[Any]) -> Any:
    if not isinstance(values, Range):
        return trial.suggest_categorical(key, values)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    value = trial.suggest_float(key, values.low, values.high, log=values.log)
    return min(max(float(f"{value:.3g}"), values.low), values.high)  # for people


def current(config: Config) -> Settings:
    """The configuration's own settings, without those that the space does not contain."""
    values = config.model_dump()
    found = {}
    for key, choices in searched(config).items():
        section, name = key.split(".")
        value = values[section][name]
        if choices.contains(value) if isinstance(choices, Range) else value in choices:
            found[key] = value
    return found


def overlay(settings: Settings, *, pool_is_empty: bool) -> dict[str, dict[str, Any]]:
    """The settings as sections of a configuration.

    Where the search chose the preset on a day without a pool, days without one must not stop the training.
    """
    sections: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    if pool_is_empty and "training.preset" in settings:
        sections.setdefault("negatives", {}).setdefault("empty_pool", "skip")
    return sections


def configured(config: Config, settings: Settings, *, pool_is_empty: bool) -> Config:
    """The configuration with these settings. Raises ValueError if they contradict each other, also in a variant."""
    changes = overlay(settings, pool_is_empty=pool_is_empty)
    with validation_errors(""):
        changed = Config.model_validate(merge(config.model_dump(), changes))
        for name in changed.variants:
            changed.with_variant(name)
    return changed
