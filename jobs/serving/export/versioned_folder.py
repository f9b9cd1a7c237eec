"""A folder with versions of an export, and a pointer to the one that readers follow.

    FOLDER/current.json             the version that readers follow
    FOLDER/VERSION/manifest.json    describes the files of a version; a folder without it is not complete

The folder can be on any file system that Spark writes. One export at a time may write it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pyspark.sql import SparkSession

from jobs.lake.errors import disk_full_errors
from jobs.lake.files import glob_statuses, put_text, read_text, remove_folder
from jobs.lake.snapshots import local_path
from jobs.serving.export.versions import NAME, ExportConflict, Version
from model.artifacts.verified_folder import flush

POINTER, MANIFEST, PROGRESS = "current.json", "manifest.json", "progress"


class VersionedFolder:
    """A folder: a path or any Hadoop URI. Subclasses say what a version has."""

    job: ClassVar[str]  # that writes the folder
    formats: ClassVar[tuple[str, ...]]  # of its versions
    manifest_fields: ClassVar[Mapping[str, type]] = {"candidates_version": int}  # that are read
    age: ClassVar[str] = "candidates_version"  # the number in a manifest by which stale versions are found

    def __init__(self, uri: str, session: Callable[[], SparkSession]) -> None:
        """session: starts Spark, which writes lists, and all else in stores that are not a local disk."""
        self.shown = self._root = uri.rstrip("/") or "/"
        self._session = session

    def require_not_before(self, version: Version) -> dict[str, Any]:
        """The pointer, {} if there is none. Raises ExportConflict if it names a later publication than the version's.

        Raises ValueError if it, or the manifest of an earlier version, is damaged, or the folder is of another job.
        """
        pointer = self._pointer()
        if pointer.get("format", self.formats[0]) not in self.formats:
            raise ValueError(
                f"{self.shown} must be a folder of {self.job} alone, got one with exports of the format "
                f"{pointer['format']}: give another folder"
            )
        for name in pointer.get("earlier", ()):  # a damaged file is reported before anything is written
            self._manifest(name)
        followed = int(pointer.get("publication", 0))
        if followed > version.publication:
            raise ExportConflict(
                f"the exported publication must not be before that in {self.shown}, which is {followed}, got "
                f"{version.publication}"
            )
        return pointer

    def switch(self, version: Version) -> bool:
        """Make readers follow a complete version; returns whether they followed another one before."""
        before = self._pointer()
        if before.get("publication") == version.publication and before.get("version") == version.name:
            return False
        earlier = [before["version"], *before["earlier"]] if before else []
        kept = [name for name in earlier if name != version.name]
        self._put(POINTER, {"version": version.name, **version.description, "earlier": kept})
        return before.get("version") != version.name

    def remove_old(self, version: Version, kept: int, is_stale: Callable[[int], bool]) -> int:
        """Remove other versions than the last `kept` that readers followed, `version` among them; returns how many.

        is_stale: whether versions with such a number (`age`) must go in any case; -1 if a manifest has none.
        """
        keep = {version.name}
        for name in self._pointer()["earlier"]:
            manifest = self._manifest(name)
            if manifest and len(keep) < kept and not is_stale(int(manifest.get(self.age, -1))):
                keep.add(name)
        obsolete = [name for name in self._names("*") if NAME.fullmatch(name) and name not in keep]
        for name in obsolete:
            for part in (MANIFEST, PROGRESS, ""):  # what is left is never taken for complete, or for written
                self._remove(f"{name}/{part}".rstrip("/"))
        return len(obsolete)

    def _names(self, *parts: str) -> list[str]:
        """The names of files and folders that match a path with `*`."""
        *folder, pattern = parts
        if (local := local_path(self._path(*folder))) is not None:
            return sorted(path.name for path in local.glob(pattern))
        return sorted(str(one.getPath().getName()) for one in glob_statuses(self._session(), self._path(*parts)))

    def _pointer(self) -> dict[str, Any]:
        return self._json(POINTER, {"version": str, "publication": int, "earlier": list}) or {}

    def _manifest(self, name: str) -> dict[str, Any] | None:
        return self._json(f"{name}/{MANIFEST}", self.manifest_fields)

    def _json(self, path: str, fields: Mapping[str, type]) -> dict[str, Any] | None:
        """The values of a small file; None if there is none. Raises ValueError without these fields, of these types."""
        try:
            text = read_text(self._session, self._path(path))
            values = json.loads(text) if text else None
        except (json.JSONDecodeError, UnicodeDecodeError):
            text, values = "damaged", None
        if not text:
            return None
        if isinstance(values, dict) and all(isinstance(values.get(name), kind) for name, kind in fields.items()):
            return values
        raise ValueError(
            f"{self._path(path)} must be as {self.job} wrote it, with {', '.join(fields)}, got a damaged file: "
            "restore it, or remove it and export again"
        )

    def _put(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace a small file; on a local disk readers see the old or the new one."""
        uri, text = self._path(path), json.dumps(values, indent=1) + "\n"
        file = local_path(uri)
        if file is None:
            put_text(self._session(), uri, text)
            return
        with disk_full_errors(uri):
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f".{file.name}.draft")
            draft.write_text(text, "utf-8")
            flush(draft)
            os.replace(draft, file)
            flush(file.parent)

    def _remove(self, path: str) -> None:
        file = local_path(self._path(path))
        if file is not None and file.is_file():
            file.unlink()
        elif file is None or file.exists():
            remove_folder(self._session(), self._path(path))

    def _path(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))
