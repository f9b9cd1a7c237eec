"""What a model's folder says of it, for the jobs that need none of its weights."""

from __future__ import annotations

import json
from typing import Any

from jobs.inference.references import model_path
from jobs.lake.files import read_text
from jobs.lake.lake import Lake
from model.artifacts.model_version import MANIFEST


def manifest_of(lake: Lake, version: str) -> dict[str, Any] | None:
    """The model.json of a model version; None where there is none."""
    text = read_text(lake.spark, f"{model_path(lake, version)}/{MANIFEST}")
    return json.loads(text) if text else None


def required_manifest(lake: Lake, version: str) -> dict[str, Any]:
    """Like `manifest_of`; raises ValueError where there is none."""
    manifest = manifest_of(lake, version)
    if manifest is None:
        raise ValueError(f"there is no {MANIFEST} in {model_path(lake, version)}")
    return manifest
