"""Checkpoints of a training run: written every few steps, read when an interrupted run is started again.

A checkpoint is a verified folder of safetensors and JSON; nothing in it is pickled. If the folder of the checkpoints
does not outlive the machine, each one is also copied to a store.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.artifacts.formats import CHECKPOINT, CheckpointCorrupt
from model.artifacts.stored_folders import StoredFolders
from model.training.processes.lines import warn

TENSORS = "tensors.safetensors"
STEP, BEST = "step", "best"  # kinds of checkpoints: of every few steps, and of the best epoch
KEEP_NEWEST = {STEP: 2, BEST: 1}  # the second newest step is the fallback if the newest is damaged


class Checkpoints:
    """The checkpoints of one run, named KIND-STEP. `identity` distinguishes the run from all others."""

    def __init__(self, folder: Path, identity: str, store: str | None = None) -> None:
        """store: the URL of a folder in a store that gets a copy of each checkpoint."""
        self.folder, self.identity = folder, identity
        self.stored = None if store is None else StoredFolders(store, CHECKPOINT.manifest)

    def save(self, kind: str, step: int, state: dict[str, Any]) -> None:
        """Save a state, and delete all but the newest checkpoints of its kind.

        state: nested dicts, lists, tensors and JSON values.
        """
        tensors: dict[str, Tensor] = {}
        fields = {"identity": self.identity, "state": _without_tensors(state, tensors)}
        folder = self.folder / f"{kind}-{step:012}"
        CHECKPOINT.write(folder, fields, {TENSORS: lambda path: save_file(tensors, str(path))})
        if self.stored is not None:
            self.stored.put(folder)
            for old in self._stored_names(kind)[: -KEEP_NEWEST[kind]]:
                self.stored.delete(old)
        for old in self._local_names(kind)[: -KEEP_NEWEST[kind]]:
            shutil.rmtree(self.folder / old, ignore_errors=True)

    def newest_step(self) -> int | None:
        """The step of the newest valid checkpoint of this run, or None; prints a warning for each damaged one."""
        for name in reversed(self._names(STEP)):
            try:
                with self._verified(name):
                    return int(name.removeprefix(f"{STEP}-"))
            except CheckpointCorrupt as error:
                warn(f"{error}; trying an older checkpoint", stream=sys.stderr)
        return None

    def load_step(self, step: int) -> dict[str, Any]:
        """The state saved at a step. Raises CheckpointCorrupt if it is missing, damaged or of another run."""
        return self._load(f"{STEP}-{step:012}")

    def load_best(self) -> dict[str, Any]:
        """The state that was saved last as the best epoch's. Raises what `load_step` raises."""
        names = self._names(BEST)
        if not names:
            raise CheckpointCorrupt(f"there is no checkpoint of the best epoch in {self.folder}")
        return self._load(names[-1])

    def _load(self, name: str) -> dict[str, Any]:
        with self._verified(name) as (folder, manifest):
            try:
                tensors = load_file(folder / TENSORS)
                state: dict[str, Any] = _with_tensors(manifest["state"], tensors)
            except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
                raise CheckpointCorrupt(f"checkpoint {folder} cannot be read: {error}") from error
            return state

    @contextmanager
    def _verified(self, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A checkpoint's folder and manifest; a copy of its own if it is only in the store."""
        if self.stored is None or (self.folder / name).exists():
            yield self.folder / name, self._verified_manifest(self.folder / name)
            return
        with tempfile.TemporaryDirectory(prefix="batch-recall-") as text:
            self.stored.fetch(name, Path(text) / name)
            yield Path(text) / name, self._verified_manifest(Path(text) / name)

    def _verified_manifest(self, folder: Path) -> dict[str, Any]:
        manifest = CHECKPOINT.read_manifest(folder)
        if manifest["identity"] != self.identity:
            raise CheckpointCorrupt(f"checkpoint {folder} belongs to another run")
        CHECKPOINT.verify_files(folder, manifest, {TENSORS})
        return manifest

    def _names(self, kind: str) -> list[str]:
        """The names of the checkpoints of a kind, here and in the store, ascending by step."""
        return sorted({*self._local_names(kind), *self._stored_names(kind)})

    def _local_names(self, kind: str) -> list[str]:
        paths = self.folder.glob(f"{kind}-*")
        return sorted(path.name for path in paths if path.is_dir() and not path.is_symlink())

    def _stored_names(self, kind: str) -> list[str]:
        names = [] if self.stored is None else self.stored.names()
        return [name for name in names if name.startswith(f"{kind}-")]


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
