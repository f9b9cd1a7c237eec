"""The training spec of a day: pinned inputs, the specification of the model, and the name of the model version."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

from jobs.config.features import stored_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.days import day_end, epoch_day
from jobs.lake.integrity.detect import data_file_errors
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.queries import query
from jobs.training.earlier_models import EarlierModel, warm_start_model
from jobs.training.item_days import require_features_of_window
from jobs.training.model_spec import model_spec, numeric_stats
from jobs.training.settings import spec_settings, training_configuration
from model.data.pinned_files import PinnedFiles
from model.negatives.settings import Negatives
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec


class StaleProbabilities(ValueError):
    """The sampling probabilities were counted from other rows than the training examples."""


@data_file_errors()
def training_spec(lake: Lake, config: Config, ds: dt.date) -> TrainingSpec:
    """The trainer's input for the day.

    Raises StaleProbabilities, FeaturesNotBuilt, or NoSuchDay if an input is missing.
    """
    days = config.log.examples_window_days
    window = lake.pinned(tables.training_examples(config), ds, days)
    examples, last_day = _held_out(lake, config, ds, window)
    items = lake.pinned(tables.item_snapshot(config), ds, 1)
    require_features_of_window(lake, config, ds)
    probabilities = lake.pinned(tables.ITEM_SAMPLING_PROBS, ds, 1)
    require_current_probabilities(lake, config, ds)
    settings = spec_settings(config, pool_is_empty=not lake.has_day(tables.UNCLICKED_ITEMS, ds))
    older = warm_start_model(lake, config, ds)
    if older is not None:
        settings["run"]["epochs"] = _warm_epochs(config, ds, older, last_day)
    versions = {
        "training_examples": window.version,
        "item_snapshot": items.version,
        "item_sampling_probs": probabilities.version,
    }
    if (changes := _item_changes(lake, config, ds)) is not None:
        versions["item_changes"] = changes.version
    neighbours = _neighbours(lake, config, ds) if last_day is not None else {}
    if neighbours:
        versions["item_neighbours"] = neighbours["item_neighbours"].version
    inputs = {
        "ds": ds.isoformat(),
        "examples_window_days": days,
        "warm_start": None if older is None else older.version,
        "versions": versions,
    }
    configuration = training_configuration(config)
    data = DataSpec(
        examples=examples,
        last_day=last_day,
        items=items,
        probabilities=probabilities,
        numeric_stats={
            "user": numeric_stats(lake.window(tables.training_examples(config), ds, days), config.features.user),
            "item": numeric_stats(lake.day(tables.item_snapshot(config), ds), config.features.item),
        },
        unclicked_length=config.examples.unclicked_per_example,
        hide_history=config.exclusions.clicked != "never",
        held_out_cutoffs=config.held_out_cutoffs,
        item_changes=changes,
        epoch_day=epoch_day(ds),
        first_recent_day=epoch_day(ds) + 1 - config.recent_days,
        **settings["data"],
        **neighbours,
    )
    negatives = Negatives.from_json(settings["loss"].pop("negatives"))
    loss = LossSpec(negatives=negatives, final_before=int(day_end(ds).timestamp()), **settings["loss"])
    run = RunSpec(
        model_version=_version_name(ds, inputs, configuration),
        model=model_spec(config, lake.read(tables.VOCABULARIES)),
        warm_start=None if older is None else older.folder,
        inputs=inputs,
        configuration=configuration,
        **settings["run"],
    )
    return TrainingSpec(data, loss, run)


def require_current_probabilities(lake: Lake, config: Config, ds: dt.date) -> None:
    """Raises StaleProbabilities unless the day's sampling probabilities count exactly the training examples."""
    frames = {
        "examples": lake.window(tables.training_examples(config), ds, config.log.examples_window_days),
        "item_sampling_probs": lake.day(tables.ITEM_SAMPLING_PROBS, ds),
    }
    wrong = query(lake.spark, "item_sampling_probs/against_examples", frames, ds=ds).first()
    assert wrong is not None  # the query aggregates into one row
    if wrong["items"]:
        raise StaleProbabilities(
            f"item_sampling_probs of {ds} do not match the training examples: the shares of "
            f"{wrong['items']} items differ (first item index: {wrong['first']}); "
            f"run build_sampling_probs for {ds} again"
        )


def _item_changes(lake: Lake, config: Config, ds: dt.date) -> PinnedFiles | None:
    """The features of items before they changed in the window; None if no item has, or items have no features."""
    if not stored_features(config.features.item):
        return None
    try:
        return lake.pinned(tables.item_changes(config), ds, config.log.examples_window_days)
    except NoSuchDay:
        return None


def _neighbours(lake: Lake, config: Config, ds: dt.date) -> dict[str, Any]:
    """The fields of `DataSpec` for the channel of neighbours; empty if there is none, or no neighbours of yesterday.

    Those of the day before, because the clicks of `ds`, on which scores are calibrated, are among the pairs of `ds`.
    """
    before = ds - dt.timedelta(days=1)
    if not config.scoring.neighbour_quota or not lake.has_day(tables.ITEM_NEIGHBOURS, before):
        return {}
    settings = {"neighbour_clicks": config.neighbours.clicks, "neighbour_decay": config.neighbours.decay}
    return {"item_neighbours": lake.pinned(tables.ITEM_NEIGHBOURS, before, 1), **settings}


def _held_out(lake: Lake, config: Config, ds: dt.date, window: PinnedFiles) -> tuple[PinnedFiles, PinnedFiles | None]:
    """(the window without its last day, the last day), or (the window, None) if no day is held out."""
    table, days = tables.training_examples(config), config.log.examples_window_days
    if config.training.validation == "none" or days == 1:
        return window, None
    try:
        last = lake.pinned(table, ds, 1, version=window.version)
        before = lake.pinned(table, ds - dt.timedelta(days=1), days - 1, version=window.version)
    except NoSuchDay:
        return window, None
    return before, last


def _warm_epochs(config: Config, ds: dt.date, older: EarlierModel, last_day: PinnedFiles | None) -> int:
    """Epochs after a warm start: at least one if the model has not read all rows before the last day."""
    missed_days = older.trained_on < ds - dt.timedelta(days=1) or last_day is None
    return max(config.training.warm_epochs, int(missed_days))


def _version_name(ds: dt.date, inputs: dict[str, Any], configuration: dict[str, Any]) -> str:
    """The same name for the same day, inputs and configuration."""
    text = json.dumps([inputs, configuration], sort_keys=True)
    return f"{ds.isoformat()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
