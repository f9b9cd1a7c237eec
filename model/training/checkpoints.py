"""Checkpoints of a training run: written every few steps, read when an interrupted run is started again.

A checkpoint is a verified folder of safetensors and JSON; nothing in it is pickled.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.artifacts.formats import CHECKPOINT, CheckpointCorrupt

TENSORS = "tensors.safetensors"
KEEP_NEWEST = 2  # the second newest is the fallback if the newest is damaged


class Checkpoints:
    """The checkpoints of one run, named by step. `identity` distinguishes the run from all others."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def save(self, name: str, state: dict[str, Any]) -> None:
        """state: nested dicts, lists, tensors and JSON values."""
        tensors: dict[str, Tensor] = {}
        fields = {"identity": self.identity, "state": _without_tensors(state, tensors)}
        CHECKPOINT.write(self.folder / name, fields, {TENSORS: lambda path: save_file(tensors, str(path))})

    def save_step(self, step: int, state: dict[str, Any]) -> None:
        """Save the state of a step and delete all but the newest checkpoints."""
        self.save(f"step-{step:012}", state)
        for old in self._steps()[:-KEEP_NEWEST]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> str | None:
        """The name of the newest valid checkpoint of this run, or None; prints a warning for each damaged one."""
        for folder in reversed(self._steps()):
            try:
                self._verified(folder)
                return folder.name
            except CheckpointCorrupt as error:
                print(f"warning: {error}; trying an older checkpoint", file=sys.stderr, flush=True)
        return None

    def load(self, name: str) -> dict[str, Any]:
        """The saved state. Raises CheckpointCorrupt if it is missing, damaged or of another run."""
        folder = self.folder / name
        manifest = self._verified(folder)
        try:
            tensors = load_file(folder / TENSORS)
            state: dict[str, Any] = _with_tensors(manifest["state"], tensors)
        except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
            raise CheckpointCorrupt(f"checkpoint {folder} cannot be read: {error}") from error
        return state

    def _steps(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir() and not path.is_symlink())

    def _verified(self, folder: Path) -> dict[str, Any]:
        manifest = CHECKPOINT.read_manifest(folder)
        if manifest["identity"] != self.identity:
            raise CheckpointCorrupt(f"checkpoint {folder} belongs to another run")
        CHECKPOINT.verify_files(folder, manifest, {TENSORS})
        return manifest


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, with each tensor replaced by its key in `tensors`. Keys of dicts may be numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _without_tensors(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_without_tensors(part, tensors) for part in value]}
    return {"plain": value}


def _with_tensors(encoded: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `_without_tensors`."""
    ((kind, value),) = encoded.items()
    if kind == "tensor":
        return tensors[value].clone()  # the bytes in a file need not be aligned, and generators require it
    if kind == "dict":
        return {key: _with_tensors(part, tensors) for key, part in value}
    if kind == "list":
        return [_with_tensors(part, tensors) for part in value]
    return value
