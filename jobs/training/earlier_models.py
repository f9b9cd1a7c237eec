"""Models of earlier days: one that can be used again without training, or one that training continues from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.inference.references import model_path, required_manifest
from jobs.lake import tables
from jobs.lake.files import folder_reference
from jobs.lake.lake import Lake
from jobs.training.settings import training_configuration
from jobs.workers.folders import local_folder
from model.training.processes.lines import say


@dataclass(frozen=True)
class EarlierModel:
    """The model version that a warm start continues from."""

    version: str
    folder: Path
    trained_on: dt.date


def warm_start_model(lake: Lake, config: Config, ds: dt.date) -> EarlierModel | None:
    """The newest earlier model; None if `training.start` is "scratch" or no earlier model is found.

    The model must be of the `log.state_lookback_days` days before `ds`.
    """
    if config.training.start == "scratch":
        return None
    last = _last_trained(lake, ds, config.log.state_lookback_days)
    if last is None:
        days = config.log.state_lookback_days
        say(f"no model of the {days} days before {ds} was found: the model is trained from scratch")
        return None
    folder = local_folder(folder_reference(lake.spark, model_path(lake, last.model_version)))
    return EarlierModel(last.model_version, folder, last.trained_on)


def reusable_model(lake: Lake, config: Config, ds: dt.date) -> Row | None:
    """The row of model_versions of an earlier model that is also used for `ds`; None if one must be trained.

    A model is used for `training.retrain_every_days` days, and only with the configuration that it was trained with.
    """
    last = _last_trained(lake, ds, config.training.retrain_every_days - 1)
    if last is None or (ds - last.trained_on).days >= config.training.retrain_every_days:
        return None
    manifest = required_manifest(lake, last.model_version)
    return last if manifest["configuration"] == training_configuration(config) else None


def _last_trained(lake: Lake, ds: dt.date, days: int) -> Row | None:
    """The newest row of model_versions in the `days` days before `ds`."""
    last = lake.latest_day_before(tables.MODEL_VERSIONS, ds, days) if days else None
    return lake.rows(tables.MODEL_VERSIONS, last)[0] if last else None
