"""A model version is a folder: weights, specification, inputs, metrics, checksums. Nothing in it is pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from torch import Tensor

from model.artifacts.formats import MODEL, ModelCorrupt
from model.features import ModelSpec
from model.towers import TwoTowers
from model.training.optimizers import RowWiseAdagrad

WEIGHTS = "weights.safetensors"
ROW_SUMS = "row_sums.safetensors"  # optimiser state of the embedding tables by parameter name, for a warm start


@dataclass(frozen=True)
class ModelVersion:
    """The contents of `model.json` except the checksums."""

    name: str
    spec: ModelSpec
    inputs: dict[str, Any]  # tables, their Delta versions and days
    configuration: dict[str, Any]
    metrics: dict[str, Any]


def save_model(folder: Path, model: TwoTowers, version: ModelVersion, optimizer: RowWiseAdagrad | None = None) -> None:
    """Write the model folder; it is complete or absent (see `model.artifacts.verified_folder`)."""
    states = {} if optimizer is None else optimizer.state
    sums = {name: states[weights]["sum"].cpu() for name, weights in model.named_parameters() if weights in states}
    fields = {
        "model_version": version.name,
        "spec": version.spec.to_json(),
        "inputs": version.inputs,
        "configuration": version.configuration,
        "metrics": version.metrics,
    }
    writers = {
        WEIGHTS: lambda path: save_weights(model, str(path)),
        ROW_SUMS: lambda path: save_file(sums, str(path)),
    }
    MODEL.write(folder, fields, writers)


def load_model(folder: Path, expected_version: str | None = None) -> tuple[TwoTowers, ModelVersion]:
    """The model in evaluation mode, and its manifest.

    Raises ModelCorrupt if a file is missing or changed or the version is not the expected one, before any weight is
    read; and if the weights do not match the specification.
    """
    manifest = MODEL.read_manifest(folder)
    name = manifest["model_version"]
    if expected_version is not None and name != expected_version:
        raise ModelCorrupt(f"{folder} must hold model version {expected_version}, got {name}")
    MODEL.verify_files(folder, manifest, {WEIGHTS}, {ROW_SUMS})
    try:
        spec = ModelSpec.from_json(manifest["spec"])
        model = TwoTowers(spec)
        load_weights(model, folder / WEIGHTS)
    except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelCorrupt(f"the weights in {folder} do not match its specification: {error}") from error
    inputs, configuration, metrics = (manifest[key] for key in ("inputs", "configuration", "metrics"))
    return model.eval(), ModelVersion(name, spec, inputs, configuration, metrics)


def load_row_sums(folder: Path) -> dict[str, Tensor]:
    """The row-wise Adagrad sums [V] of each table by parameter name; empty if the folder has none.

    The folder must have been verified by `load_model`. Raises ModelCorrupt if the file cannot be read.
    """
    try:
        return load_file(folder / ROW_SUMS) if ROW_SUMS in MODEL.read_manifest(folder)["files"] else {}
    except SafetensorError as error:
        raise ModelCorrupt(f"{folder / ROW_SUMS} cannot be read: {error}") from error
