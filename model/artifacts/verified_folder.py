"""Folders that are complete or absent, described by a manifest that is verified before any file is used.

The manifest is a JSON file that lists every other file with its size and SHA-256. The checksums detect damage and
mix-ups, but not an attacker, who can rewrite them too. So readers of such a folder must never unpickle a file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRAFT_MAX_AGE_SECONDS = 86_400  # the writer of an older draft was killed

Writers = Mapping[str, Callable[[Path], object]]  # "file" or "folder/file" -> function that writes the file


class ArtifactCorrupt(ValueError):
    """A folder does not match its manifest, or the manifest does not match its format."""


@dataclass(frozen=True)
class ArtifactFormat:
    """One kind of folder: the name and the fields of its manifest, and the error for a damaged folder."""

    manifest: str
    fields: Mapping[str, type]  # of the manifest, besides `format` and `files`
    error: type[ArtifactCorrupt]
    version: int = 1
    max_manifest_bytes: int = 65_536
    allow_nan: bool = False

    def write(self, folder: Path, fields: Mapping[str, Any], writers: Writers) -> None:
        """Write the files and the manifest as one atomic folder (see `atomic_folder`).

        Raises ValueError if the manifest is not valid JSON or exceeds its size limit.
        """
        with atomic_folder(folder) as draft:
            for name, write in writers.items():
                (draft / name).parent.mkdir(exist_ok=True)
                write(draft / name)
            files = {name: self.facts(draft / name) for name in writers}
            manifest = {"format": self.version, **fields, "files": files}
            text = json.dumps(manifest, indent=1, allow_nan=self.allow_nan) + "\n"
            if len(text) > self.max_manifest_bytes:
                raise ValueError(f"{self.manifest} must be at most {self.max_manifest_bytes} bytes, got {len(text)}")
            (draft / self.manifest).write_text(text, "utf-8")

    def read_manifest(self, folder: Path) -> dict[str, Any]:
        """Read the manifest and check its size, fields and types; no other file is read. Raises `error`."""
        path = folder / self.manifest
        if (size := self._size(path)) > self.max_manifest_bytes:
            raise self.error(f"{path} must be at most {self.max_manifest_bytes} bytes, got {size}")
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError too
            raise self.error(f"{path} must be JSON, got {error}") from error
        types = {"format": int, "files": dict, **self.fields}
        if not isinstance(manifest, dict) or {name: type(value) for name, value in manifest.items()} != types:
            got = _types_of(manifest) if isinstance(manifest, dict) else type(manifest).__name__
            raise self.error(f"{path} must have the fields {_types_of(types)}, got {got}")
        if manifest["format"] != self.version:
            raise self.error(f"{path} must be of format {self.version}, got {manifest['format']}")
        return manifest

    def verify_files(
        self, folder: Path, manifest: Mapping[str, Any], required: Collection[str], optional: Collection[str] = ()
    ) -> None:
        """Check that the manifest lists all required files, and no others except optional ones.

        Also check that each listed file is a regular file with the listed size and checksum. Raises `error`.
        """
        listed = manifest["files"]
        if not {*required} <= {*listed} <= {*required, *optional}:
            raise self.error(f"{folder} must list the files {sorted(required)}, got {sorted(listed)}")
        for name, facts in listed.items():
            if any((folder / parent).is_symlink() for parent in Path(name).parents[:-1]):
                raise self.error(f"{folder / name} must be in a folder, got a symbolic link")
            if (got := self.facts(folder / name)) != facts:
                raise self.error(f"{folder / name} must match the manifest's {facts}, got {got}")

    def facts(self, path: Path) -> dict[str, Any]:
        """The manifest's entry for a file. Raises `error` if it is not a regular file."""
        return {"size": self._size(path), "sha256": sha256(path)}

    def _size(self, path: Path) -> int:
        """The size of a regular file in bytes. A symbolic link is refused, because it can point anywhere."""
        try:
            status = path.lstat()
        except OSError as error:
            raise self.error(f"{path} must be a regular file, got {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise self.error(f"{path} must be a regular file, got {stat.filemode(status.st_mode)}")
        return status.st_size


def _types_of(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: (kind if isinstance(kind, type) else type(kind)).__name__ for name, kind in sorted(fields.items())}


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty draft folder. When the block ends, flush its files to disk and rename it to `folder`.

    If the process is killed at any moment, `folder` is absent or complete. A killed writer leaves a draft whose name
    starts with a dot; a later writer of the same folder removes drafts that are older than a day. If the block raises,
    the draft is removed. Raises OSError with the folder's name if the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_old_drafts(folder)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.draft")
    draft.mkdir()
    try:
        yield draft
        for path in (*draft.rglob("*"), draft):
            flush(path)
        _replace(folder, draft)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):  # the latter from safetensors
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(folder: Path, draft: Path) -> None:
    """Rename the draft to `folder`. An existing folder is renamed first, and renamed back if the second step fails."""
    old = draft.with_suffix(".old")  # not deleted in place, where readers would see half of it
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(draft, folder)
    except BaseException:
        if old.exists():
            os.rename(old, folder)
        raise
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_old_drafts(folder: Path) -> None:
    for suffix in ("draft", "old"):
        for path in folder.parent.glob(f".{folder.name}.*.{suffix}"):
            with suppress(FileNotFoundError):  # its writer has renamed it in the meantime
                if time.time() - path.stat().st_mtime > DRAFT_MAX_AGE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def flush(path: Path) -> None:
    """Flush a file or a folder to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
