"""A day's model and indexes: names, folders, manifests, and the references that are sent to workers."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import folder_reference, is_folder, read_text
from jobs.lake.lake import Lake, NoSuchDay
from jobs.workers.references import IndexReference, ModelReference
from model.artifacts.formats import MODEL, VersionMismatch
from model.search.backends import BACKENDS
from model.search.lists.calibration import Calibration

MODELS, INDEXES = "models", "indexes"  # folders of the lake
ITEMS, EXPLORE, NEIGHBOURS = "items", "explore", "neighbours"  # parts of a day's indexes that are not backends


def model_row(lake: Lake, ds: dt.date) -> Row:
    """The day's row of model_versions. Raises NoSuchDay if there is none."""
    rows = lake.rows(tables.MODEL_VERSIONS, ds)
    if not rows:
        raise NoSuchDay(f"no model was trained for {ds} in {lake.table_path(tables.MODEL_VERSIONS)}")
    return rows[0]


def model_version(lake: Lake, ds: dt.date) -> str:
    """The day's model version. Raises NoSuchDay if there is none."""
    return str(model_row(lake, ds).model_version)


def model_path(lake: Lake, version: str) -> str:
    return lake.model_path(MODELS, version)


def model_manifest(lake: Lake, version: str) -> dict[str, Any] | None:
    """The content of model.json; None if the file does not exist."""
    text = read_text(lambda: lake.spark, f"{model_path(lake, version)}/{MODEL.manifest}")
    return json.loads(text) if text else None


def required_manifest(lake: Lake, version: str) -> dict[str, Any]:
    """Like `model_manifest`, but raises ValueError if the file does not exist."""
    manifest = model_manifest(lake, version)
    if manifest is None:
        raise ValueError(f"there is no {MODEL.manifest} in {model_path(lake, version)}")
    return manifest


def index_path(lake: Lake, ds: dt.date, folder: str, part: str) -> str:
    """The folder of one part of a day's indexes: the name of a backend, ITEMS, EXPLORE or NEIGHBOURS.

    Its last component is unique in the lake, because a folder that is sent to workers is identified by it alone.
    """
    return lake.model_path(INDEXES, ds.isoformat(), index_folder(folder, part))


def index_folder(folder: str, part: str) -> str:
    return f"{folder}-{part_name(part)}"


def part_name(part: str) -> str:
    """The name of a part in a path: Hadoop's paths do not allow the colon of "package.module:Class"."""
    return part.replace(":", ".")


def calibration_of(lake: Lake, config: Config, version: str) -> Calibration:
    """What turns the scores of a model's candidates into probabilities.

    A model without a calibration (of an older version, or trained without a held-out day) gives shares of the softmax.
    Raises ValueError if the calibration in its manifest is damaged.
    """
    manifest = model_manifest(lake, version) or {}
    found = manifest.get("metrics", {}).get("calibration")
    if found is not None:
        return Calibration.from_json(found)
    temperature = manifest.get("metrics", {}).get("temperature")
    return Calibration(float(temperature or 1), config.scoring.candidates_per_user)


def model_reference(lake: Lake, ds: dt.date) -> ModelReference:
    """The day's model."""
    version = model_version(lake, ds)
    return ModelReference(version, folder_reference(lake.spark, model_path(lake, version)))


def index_reference(lake: Lake, config: Config, ds: dt.date) -> IndexReference:
    """The index that was chosen for the day.

    Raises NoSuchDay if no index was built, or if it was built without a quota of [scoring] that is set now;
    VersionMismatch if the index is of another model version; ValueError if its backend is neither built in nor in
    index.build_backends, because a class that is named only in the data must not be imported.
    """
    version = model_version(lake, ds)
    chosen = next((row for row in lake.rows(tables.ITEM_INDEXES, ds) if row.is_chosen), None)
    if chosen is None:
        raise NoSuchDay(f"no index was built for {ds} in {lake.table_path(tables.ITEM_INDEXES)}")
    if chosen.model_version != version:
        raise VersionMismatch(f"the index of {ds} must be of model version {version}, got {chosen.model_version}")
    allowed = {*BACKENDS.built_in, *config.index.build_backends}
    if chosen.backend not in allowed:
        raise ValueError(f"the index of {ds} must be of one of the backends {sorted(allowed)}, got {chosen.backend!r}")
    calibration = calibration_of(lake, config, version)
    index, items = (
        folder_reference(lake.spark, index_path(lake, ds, chosen.folder, part)) for part in (chosen.backend, ITEMS)
    )
    explore = _part_of_quota(lake, config, ds, chosen.folder, EXPLORE, "explore_quota")
    neighbours = _part_of_quota(lake, config, ds, chosen.folder, NEIGHBOURS, "neighbour_quota")
    return IndexReference(version, chosen.backend, index, items, explore, calibration, neighbours)


def _part_of_quota(lake: Lake, config: Config, ds: dt.date, folder: str, part: str, quota: str) -> str | None:
    """The reference of a part that is built if a quota of [scoring] is set; None if it is not.

    Raises NoSuchDay if the quota is set and the part was not built.
    """
    if not getattr(config.scoring, quota):
        return None
    path = index_path(lake, ds, folder, part)
    if not is_folder(lake.spark, path):
        raise NoSuchDay(f"the index of {ds} was built without scoring.{quota}: run build_item_index again")
    return folder_reference(lake.spark, path)
