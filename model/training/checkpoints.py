"""Where a training run stood, on disk: written at an interval, read when the run is begun again.

A checkpoint is a folder, there whole or not at all, of safetensors and JSON; nothing in it is pickled.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.artifacts.verified_folder import sha256, whole_folder

TENSORS, STATE = "tensors.safetensors", "state.json"
KEPT = 2  # the one before the newest stays, should the newest turn out to be damaged


class CheckpointCorrupt(ValueError):
    """A checkpoint does not hold what was written."""


class Checkpoints:
    """Those of one run, by the step that they were written at. `identity` says what run it is."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def save(self, name: str, state: dict[str, Any]) -> None:
        """state: dicts, lists, tensors and what JSON knows."""
        with whole_folder(self.folder / name) as draft:
            tensors: dict[str, Tensor] = {}
            parts = _take_apart(state, tensors)
            save_file(tensors, str(draft / TENSORS))
            written = {"identity": self.identity, "sha256": sha256(draft / TENSORS), "state": parts}
            (draft / STATE).write_text(json.dumps(written), "utf-8")

    def save_step(self, step: int, state: dict[str, Any]) -> None:
        """Save it under its step, and let older ones go."""
        self.save(f"step-{step:012}", state)
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> str | None:
        """The name of the newest that is whole and of this run; what is damaged is named and passed over."""
        for folder in reversed(self._steps()):
            try:
                self._checked(folder)
                return folder.name
            except CheckpointCorrupt as error:
                print(f"warning: {error}; an older one is looked for", file=sys.stderr, flush=True)
        return None

    def load(self, name: str) -> dict[str, Any]:
        """Raises CheckpointCorrupt where it is not there, not whole, or another run's."""
        written = self._checked(self.folder / name)
        try:
            tensors = load_file(self.folder / name / TENSORS)
            state: dict[str, Any] = _put_together(written["state"], tensors)
        except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
            raise CheckpointCorrupt(f"checkpoint {self.folder / name} cannot be read: {error}") from error
        return state

    def _steps(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir() and not path.is_symlink())

    def _checked(self, folder: Path) -> dict[str, Any]:
        for name in (TENSORS, STATE):
            if (folder / name).is_symlink() or not (folder / name).is_file():
                raise CheckpointCorrupt(f"checkpoint {folder} lacks the plain file {name}")
        try:
            written: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
            identity, want = written["identity"], written["sha256"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise CheckpointCorrupt(f"checkpoint {folder} cannot be read: {error}") from error
        if identity != self.identity:
            raise CheckpointCorrupt(f"checkpoint {folder} is of another run")
        if (got := sha256(folder / TENSORS)) != want:
            raise CheckpointCorrupt(f"{folder / TENSORS} has sha256 {got}, its state says {want}")
        return written


def _take_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` for JSON, its tensors by number in `tensors`; a dict keeps keys that are no text."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _take_apart(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_take_apart(part, tensors) for part in value]}
    return {"plain": value}


def _put_together(written: Any, tensors: dict[str, Tensor]) -> Any:
    ((kind, value),) = written.items()
    if kind == "tensor":
        return tensors[value].clone()  # a file's bytes may lie anywhere, and generators want theirs aligned
    if kind == "dict":
        return {key: _put_together(part, tensors) for key, part in value}
    if kind == "list":
        return [_put_together(part, tensors) for part in value]
    return value
