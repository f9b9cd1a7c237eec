"""Verified folders in a store that is reached by URL, such as S3, where a folder cannot be renamed.

The manifest is copied last and deleted first: a folder without its manifest does not exist.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from model.artifacts.verified_folder import atomic_folder
from model.data.file_systems import resolve_url

LOCAL = fs.LocalFileSystem()


class StoredFolders:
    """The folders of one kind below a URL."""

    def __init__(self, url: str, manifest: str) -> None:
        """manifest: the name of the file that makes a folder complete. Raises ValueError for an unknown kind of URL."""
        self.filesystem, self.path = resolve_url(url)
        self.manifest = manifest

    def names(self) -> list[str]:
        """The names of the complete folders, ascending."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return sorted(
            Path(info.path).parent.name for info in found if Path(info.path).name == self.manifest and info.is_file
        )

    def put(self, folder: Path) -> None:
        """Copy a local folder, which replaces one of the same name. Raises OSError."""
        self.delete(folder.name)
        self.filesystem.create_dir(f"{self.path}/{folder.name}")
        for file in sorted(folder.iterdir(), key=lambda file: file.name == self.manifest):
            fs.copy_files(str(file), f"{self.path}/{folder.name}/{file.name}", LOCAL, self.filesystem)

    def fetch(self, name: str, folder: Path) -> None:
        """Copy a folder to a local one, which is complete or absent. Raises OSError."""
        with atomic_folder(folder) as draft:
            fs.copy_files(f"{self.path}/{name}", str(draft), self.filesystem, LOCAL)

    def delete(self, name: str) -> None:
        """Delete a folder; nothing happens if there is none. Raises OSError."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.path}/{name}/{self.manifest}")
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(f"{self.path}/{name}")
