"""A model version is a folder: weights, specification, where it came from, checksums. Nothing in it is pickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from torch import Tensor

from model.artifacts.verified_folder import sha256, whole_folder
from model.features import ModelSpec
from model.towers import TwoTowers
from model.training.optimizers import RowWiseAdagrad

MANIFEST, WEIGHTS = "model.json", "weights.safetensors"
ROW_SUMS = "row_sums.safetensors"  # the tables' optimiser state, by parameter: what a warm start goes on from


class ModelCorrupt(ValueError):
    """A model folder does not hold what its manifest says."""


@dataclass(frozen=True)
class ModelVersion:
    """What `model.json` holds beside the checksums."""

    name: str
    spec: ModelSpec
    inputs: dict[str, Any]  # tables, their Delta versions and days
    configuration: dict[str, Any]
    metrics: dict[str, Any]


def save_model(folder: Path, model: TwoTowers, version: ModelVersion, optimizer: RowWiseAdagrad | None = None) -> None:
    """Write the folder; it is there whole or not at all (see `model.artifacts.verified_folder`)."""
    with whole_folder(folder) as draft:
        save_weights(model, str(draft / WEIGHTS))
        states = {} if optimizer is None else optimizer.state
        sums = {name: states[weights]["sum"].cpu() for name, weights in model.named_parameters() if weights in states}
        save_file(sums, str(draft / ROW_SUMS))
        manifest = {
            "model_version": version.name,
            "spec": version.spec.to_json(),
            "inputs": version.inputs,
            "configuration": version.configuration,
            "metrics": version.metrics,
            "sha256": {name: sha256(draft / name) for name in (WEIGHTS, ROW_SUMS)},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")


def load_model(folder: Path, expected_version: str | None = None) -> tuple[TwoTowers, ModelVersion]:
    """The model in evaluation mode, and its manifest.

    Raises ModelCorrupt, before a weight is read, where a file is missing, changed, or another version's; and where
    specification and weights do not fit each other.
    """
    manifest = _manifest(folder)
    name = manifest["model_version"]
    if expected_version is not None and name != expected_version:
        raise ModelCorrupt(f"model folder {folder} holds version {name}, wanted {expected_version}")
    for file, want in manifest["sha256"].items():
        if (got := sha256(_plain_file(folder, file))) != want:
            raise ModelCorrupt(f"{folder / file} has sha256 {got}, its manifest says {want}")
    try:
        spec = ModelSpec.from_json(manifest["spec"])
        model = TwoTowers(spec)
        load_weights(model, folder / WEIGHTS)
    except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelCorrupt(f"the weights in {folder} do not fit its manifest: {error}") from error
    inputs, configuration, metrics = (manifest[key] for key in ("inputs", "configuration", "metrics"))
    return model.eval(), ModelVersion(name, spec, inputs, configuration, metrics)


def load_row_sums(folder: Path) -> dict[str, Tensor]:
    """[V] of each table by its parameter's name, of a folder that `load_model` has verified; none of an older one."""
    try:
        return load_file(_plain_file(folder, ROW_SUMS)) if ROW_SUMS in _manifest(folder)["sha256"] else {}
    except SafetensorError as error:
        raise ModelCorrupt(f"{folder / ROW_SUMS} cannot be read: {error}") from error


def _manifest(folder: Path) -> dict[str, Any]:
    path = _plain_file(folder, MANIFEST)
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # neither text nor JSON is a ValueError
        raise ModelCorrupt(f"{path} cannot be read: {error}") from error
    wanted = {"model_version", "spec", "inputs", "configuration", "metrics", "sha256"}
    if not isinstance(manifest, dict) or set(manifest) != wanted:
        got = sorted(manifest) if isinstance(manifest, dict) else type(manifest).__name__
        raise ModelCorrupt(f"{path} wants the keys {sorted(wanted)}, got {got}")
    if not isinstance(manifest["sha256"], dict) or WEIGHTS not in manifest["sha256"]:
        raise ModelCorrupt(f"{path} has no checksum of {WEIGHTS}")
    return manifest


def _plain_file(folder: Path, name: str) -> Path:
    """The path of a file that lies in the folder itself, and is no link."""
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise ModelCorrupt(f"model folder {folder} lacks the plain file {name}")
    return path
