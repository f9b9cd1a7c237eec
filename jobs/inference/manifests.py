"""The manifest of a model version (model.json), read through Spark for the jobs that need none of its weights."""

from __future__ import annotations

import json
from typing import Any

from jobs.inference.references import model_path
from jobs.lake.files import read_text
from jobs.lake.lake import Lake
from model.artifacts.formats import MODEL


def model_manifest(lake: Lake, version: str) -> dict[str, Any] | None:
    """The content of model.json; None if the file does not exist."""
    text = read_text(lake.spark, f"{model_path(lake, version)}/{MODEL.manifest}")
    return json.loads(text) if text else None


def required_manifest(lake: Lake, version: str) -> dict[str, Any]:
    """Like `model_manifest`, but raises ValueError if the file does not exist."""
    manifest = model_manifest(lake, version)
    if manifest is None:
        raise ValueError(f"there is no {MODEL.manifest} in {model_path(lake, version)}")
    return manifest
