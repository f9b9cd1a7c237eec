"""The training spec of a trial: the pinned inputs of the day, with the settings of another configuration."""

from __future__ import annotations

from dataclasses import fields, replace

from jobs.config.loading import Config
from jobs.training.settings import spec_settings, training_configuration
from model.features import ModelSpec
from model.negatives.settings import Negatives
from model.training.spec import TrainingSpec


def trial_spec(day: TrainingSpec, config: Config, *, pool_is_empty: bool, seed: int) -> TrainingSpec:
    """What a trial trains. day: the spec of the day, whose files and vocabularies are kept.

    Raises ValueError as `spec_settings` does.
    """
    settings = spec_settings(config, pool_is_empty)
    negatives = Negatives.from_json(settings["loss"].pop("negatives"))
    shape = {field.name for field in fields(ModelSpec)}
    model = replace(day.run.model, **config.model.model_dump(include=shape))
    run = settings["run"] | {"epochs": config.tuning.max_epochs, "seed": seed, "ranks": 1, "warm_start": None}
    return TrainingSpec(
        replace(day.data, **settings["data"]),
        replace(day.loss, **settings["loss"], negatives=negatives),
        replace(day.run, **run, model=model, configuration=training_configuration(config)),
    )
