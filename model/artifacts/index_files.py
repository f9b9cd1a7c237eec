"""The folder of an index: written whole or not at all, and verified before anything in it is used.

`index.json` names every file with its size and SHA-256. The sums find damage and mix-ups; who can rewrite the
whole folder can also rewrite them, so nothing here is ever unpickled, whatever the sums say.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.artifacts.verified_folder import sha256, whole_folder

MANIFEST = "index.json"
MANIFEST_BYTES = 65_536  # a manifest is much shorter
FORMAT = 1
FIELDS: dict[str, type] = {
    "format": int,
    "backend": str,
    "metric": str,
    "dimension": int,
    "item_count": int,
    "model_version": str,
    "options": dict,
    "files": dict,
}


Writers = Mapping[str, Callable[[Path], object]]  # file name -> what writes it


class IndexCorrupt(ValueError):
    """The folder does not hold what an index of this kind is made of."""


class VersionMismatch(ValueError):
    """The index was built by another model than the one that asks."""


def write_folder(folder: Path, manifest: dict[str, Any], writers: Writers) -> None:
    """Writes each file and the manifest; the folder is there whole or not at all."""
    with whole_folder(folder) as draft:
        for name, write in writers.items():
            write(draft / name)
        files = {name: _facts(draft / name) for name in writers}
        text = json.dumps({**manifest, "format": FORMAT, "files": files}, indent=2)
        (draft / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _facts(path: Path) -> dict[str, Any]:
    """What the manifest says about a file."""
    return {"size": regular_size(path), "sha256": sha256(path)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """`index.json` with its fields' types checked, and nothing else of the folder. IndexCorrupt otherwise."""
    path = folder / MANIFEST
    if regular_size(path) > MANIFEST_BYTES:
        raise IndexCorrupt(f"{path}: wants at most {MANIFEST_BYTES} bytes, got {path.stat().st_size}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise IndexCorrupt(f"{path}: wants JSON, got {error}") from error
    got = {name: type(value) for name, value in manifest.items()} if isinstance(manifest, dict) else manifest
    if got != FIELDS or manifest["format"] != FORMAT:
        raise IndexCorrupt(f"{path}: wants the fields {sorted(FIELDS)} of format {FORMAT}, got {manifest}")
    if manifest["dimension"] < 1 or manifest["item_count"] < 0:
        raise IndexCorrupt(f"{path}: wants a dimension and an item count, got {manifest}")
    return manifest


def check_files(folder: Path, manifest: dict[str, Any], wanted: set[str]) -> None:
    """IndexCorrupt unless the manifest names exactly these files and each has that size and sum."""
    if set(manifest["files"]) != wanted:
        raise IndexCorrupt(f"{folder}: wants the files {sorted(wanted)}, got {sorted(manifest['files'])}")
    for name, entry in manifest["files"].items():
        got = _facts(folder / name)
        if got != entry:
            raise IndexCorrupt(f"{folder / name}: wants {entry}, got {got}")


def regular_size(path: Path) -> int:
    """Bytes of a regular file; IndexCorrupt if it is missing or a link, which could lead anywhere."""
    try:
        status = path.lstat()
    except OSError as error:
        raise IndexCorrupt(f"{path}: wants a file, got {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise IndexCorrupt(f"{path}: wants a regular file, got {stat.filemode(status.st_mode)}")
    return status.st_size


def write_array(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """A .npy file, memory-mapped: all processes that read it share its pages. IndexCorrupt otherwise.

    None in `shape` stands for any length.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes numpy raise anything from ValueError to TokenError
        raise IndexCorrupt(f"{path}: wants an array, got {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not _fits(array.shape, shape):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise IndexCorrupt(f"{path}: wants {np.dtype(dtype)} {shape}, got {got}")
    return array.view(np.ndarray)  # plain, still mapped


def _fits(got: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(got) == len(wanted) and all(size in (None, length) for length, size in zip(got, wanted, strict=True))
