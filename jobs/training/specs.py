"""What a trainer is told to do: the day's inputs pinned, the model that they call for, and the version's name."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.config.features import Feature
from jobs.config.loading import Config
from jobs.config.presets import negatives_of, settings_of
from jobs.inference.manifests import required_manifest
from jobs.inference.references import model_path
from jobs.lake import tables
from jobs.lake.days import day_end
from jobs.lake.files import local_folder, reference
from jobs.lake.integrity.detect import data_file_errors
from jobs.lake.lake import Lake, NoSuchDay, PinnedWindow
from jobs.lake.queries import query
from jobs.raw_log.encoding import vocabulary_name
from model.features import FeatureSpec, ModelSpec
from model.vocabulary import FIRST_INDEX


class StaleProbabilities(ValueError):
    """The sampling probabilities are those of other rows than the ones to train on."""


def model_spec(config: Config, vocabularies: DataFrame) -> ModelSpec:
    """The model that the declared features and the vocabularies' sizes call for."""
    last = vocabularies.groupBy("feature").agg(F.max("index").alias("index")).collect()  # a row a declared feature
    sizes = {row.feature: row["index"] + 1 for row in last}
    user, item = (_specs(side, getattr(config.features, side)) for side in ("user", "item"))
    wanted = {spec.vocabulary for spec in (*user, *item) if spec.vocabulary} | {"item_id"}
    return ModelSpec(
        user,
        item,
        {name: sizes.get(name, FIRST_INDEX) for name in sorted(wanted)},
        config.model.embedding_dim,
        config.model.hidden,
        config.model.share_item_table,
    )


def _specs(side: str, features: Sequence[Feature]) -> tuple[FeatureSpec, ...]:
    specs = []
    for feature in features:
        column = f"{side}_index" if feature.kind == "id" else feature.name
        vocabulary = None if feature.kind in ("numeric", "vector") else vocabulary_name(side, feature)
        vocabulary = feature.name if feature.kind == "id" else vocabulary
        specs.append(FeatureSpec(feature.name, feature.kind, feature.dim, feature.length, column, vocabulary))
    return tuple(specs)


def numeric_stats(rows: DataFrame, features: Sequence[Feature]) -> dict[str, tuple[list[float], list[float]]]:
    """Mean and deviation of each numeric feature and of each place of a vector; (0, 1) where nothing is known."""
    places = {
        f"{feature.name}[{place}]": F.col(feature.name)[place] if feature.length > 1 else F.col(feature.name)
        for feature in features
        if feature.kind in ("numeric", "vector")
        for place in range(feature.length)
    }
    if not places:
        return {}
    aggregates = [(F.avg(value), F.stddev_pop(value)) for value in places.values()]
    found = rows.agg(*(column for pair in aggregates for column in pair)).first()
    stats: dict[str, tuple[list[float], list[float]]] = {}
    for number, name in enumerate(places):
        mean, std = stats.setdefault(name.split("[")[0], ([], []))
        mean.append(found[2 * number] or 0.0)  # type: ignore[index]
        std.append(found[2 * number + 1] or 1.0)  # type: ignore[index]
    return stats


@data_file_errors()
def training_order(lake: Lake, config: Config, ds: dt.date) -> dict[str, Any]:
    """What the trainer is to do, as JSON: pinned inputs, specification, settings, and the version's name."""
    days = config.log.examples_window_days
    table = tables.training_examples(config)
    examples = lake.pinned(table, ds, days)
    before, last_day = _held_out(lake, config, ds, examples)
    items = lake.pinned(tables.item_snapshot(config), ds, 1)
    probabilities = lake.pinned(tables.ITEM_SAMPLING_PROBS, ds, 1)
    require_current_probabilities(lake, config, ds)
    pool_is_empty = lake.day(tables.UNCLICKED_ITEMS, ds).isEmpty()
    spec = model_spec(config, lake.read(tables.VOCABULARIES))
    older = _older_model(lake, config, ds)
    inputs = {
        "ds": ds.isoformat(),
        "examples_window_days": days,
        "warm_start": older and older[0],
        "versions": {
            "training_examples": examples.version,
            "item_snapshot": items.version,
            "item_sampling_probs": probabilities.version,
        },
    }
    configuration = _configuration(config)
    identity = json.dumps([inputs, configuration], sort_keys=True).encode()
    settings = settings_of(config)
    if older is not None:  # what landed on days without a model is in the window alone
        missed = dt.date.fromisoformat(older[2]) < ds - dt.timedelta(days=1) or last_day is None
        settings["epochs"] = max(config.training.warm_epochs, int(missed))
    return {
        "model_version": f"{ds.isoformat()}-{hashlib.sha256(identity).hexdigest()[:8]}",
        "spec": spec.to_json(),
        "settings": settings,
        "negatives": negatives_of(config, pool_is_empty),
        "unclicked_length": config.examples.unclicked_per_example,
        "hide_history": config.exclusions.clicked != "never",
        "warm_start": older and older[1],
        "final_before": int(day_end(ds).timestamp()),
        "examples": before.to_json(),
        "last_day": last_day and last_day.to_json(),
        "items": items.to_json(),
        "probabilities": probabilities.to_json(),
        "numeric_stats": {
            "user": numeric_stats(lake.window(table, ds, days), config.features.user),
            "item": numeric_stats(lake.day(tables.item_snapshot(config), ds), config.features.item),
        },
        "inputs": inputs,
        "configuration": configuration,
    }


def require_current_probabilities(lake: Lake, config: Config, ds: dt.date) -> None:
    """Raises StaleProbabilities unless the day's shares count exactly the rows that are trained on."""
    frames = {
        "examples": lake.window(tables.training_examples(config), ds, config.log.examples_window_days),
        "item_sampling_probs": lake.day(tables.ITEM_SAMPLING_PROBS, ds),
    }
    wrong = query(lake.spark, "item_sampling_probs/against_examples", frames, ds=ds).first()
    assert wrong is not None  # it is an aggregate
    if wrong["items"]:
        raise StaleProbabilities(
            f"item_sampling_probs of {ds} do not count the training examples as they are: {wrong['items']} items "
            f"have another share, item index {wrong['first']} is the first; run build_sampling_probs for {ds} again"
        )


def _held_out(
    lake: Lake, config: Config, ds: dt.date, window: PinnedWindow
) -> tuple[PinnedWindow, PinnedWindow | None]:
    """The window without its last day, and that day; the whole and None where nothing is, or would be, left."""
    table, days = tables.training_examples(config), config.log.examples_window_days
    if config.training.validation == "none" or days == 1:
        return window, None
    try:
        last = lake.pinned(table, ds, 1, version=window.version)
        before = lake.pinned(table, ds - dt.timedelta(days=1), days - 1, version=window.version)
    except NoSuchDay:
        return window, None
    return before, last


def _older_model(lake: Lake, config: Config, ds: dt.date) -> tuple[str, str, str] | None:
    """Name, folder and day of the model to go on from; None where the configuration, or the lake, has none."""
    if config.training.start == "scratch":
        return None
    last = _last_trained(lake, ds, config.log.state_lookback_days)
    if last is None:
        print(f"no model of the {config.log.state_lookback_days} days before {ds}: it is trained from scratch")
        return None
    return last.model_version, str(_folder(lake, last.model_version)), last.trained_on.isoformat()


def model_to_keep(lake: Lake, config: Config, ds: dt.date) -> Row | None:
    """The row of model_versions of a model that serves `ds` too (`training.retrain_every_days`); None where one is due.

    A model of another configuration serves no longer.
    """
    last = _last_trained(lake, ds, config.training.retrain_every_days - 1)
    if last is None or (ds - last.trained_on).days >= config.training.retrain_every_days:
        return None
    manifest = required_manifest(lake, last.model_version)
    return last if manifest["configuration"] == _configuration(config) else None


def _last_trained(lake: Lake, ds: dt.date, days: int) -> Row | None:
    """The newest row of model_versions of the `days` before `ds`."""
    last = lake.latest_day_before(tables.MODEL_VERSIONS, ds, days) if days else None
    return lake.day(tables.MODEL_VERSIONS, last).first() if last else None


def _folder(lake: Lake, version: str) -> Path:
    return local_folder(reference(lake.spark, model_path(lake, version)))


def _configuration(config: Config) -> dict[str, Any]:
    """What of the configuration makes a model what it is."""
    return config.model_dump(
        mode="json", include={"features", "model", "training", "negatives", "pool", "log", "examples", "exclusions"}
    )
