"""A Delta log on a local disk or in an object store that pyarrow supports: listed and read without Spark."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from pyarrow import fs

from jobs.lake.integrity.delta_log import HINT, DeltaLog, UnreadableFile
from model.data.file_systems import resolve_url

CRC_HEADER = 8  # bytes before the sums in Hadoop's checksum files: a magic number, and how many bytes a sum covers


@dataclass(frozen=True)
class ArrowLogStorage:
    """The files of one listing of a log, by name."""

    filesystem: fs.FileSystem
    folder: str
    files: Mapping[str, fs.FileInfo]

    def size(self, name: str) -> int:
        return int(self.files[name].size)

    def identity(self, name: str) -> Hashable:
        return self.size(name), self.files[name].mtime_ns

    def read(self, name: str, start: int = 0, *, verify_checksum: bool = True) -> bytes:
        if not verify_checksum or f".{name}.crc" not in self.files:
            return self._bytes(name, start)
        sums = self._bytes(f".{name}.crc")
        covered = int.from_bytes(sums[4:CRC_HEADER], "big") or 1
        first = start // covered
        content = self._bytes(name, first * covered)
        for number in range(-(-len(content) // covered)):
            position = CRC_HEADER + 4 * (first + number)
            part = content[number * covered : (number + 1) * covered]
            if zlib.crc32(part) != int.from_bytes(sums[position : position + 4], "big"):
                raise UnreadableFile("does not match its checksum")
        return content[start - first * covered :]

    def _bytes(self, name: str, start: int = 0) -> bytes:
        with self.filesystem.open_input_file(f"{self.folder}/{name}") as file:
            file.seek(start)
            return bytes(file.read())


def read_log(table: str, url: str) -> DeltaLog | None:
    """List the log of a table (a path or URI; `url` is its URL); None if there is no log."""
    filesystem, root = resolve_url(url)
    folder = f"{root}/_delta_log"
    hint = _read_hint(filesystem, folder)  # read first, so that the listing has the checkpoint it names
    try:
        listed = filesystem.get_file_info(fs.FileSelector(folder))
    except FileNotFoundError:
        return None
    files = {info.base_name: info for info in listed if info.type == fs.FileType.File}
    return DeltaLog(table, files, ArrowLogStorage(filesystem, folder, files), hint)


def _read_hint(filesystem: fs.FileSystem, folder: str) -> bytes | None:
    infos = filesystem.get_file_info([f"{folder}/{HINT}", f"{folder}/.{HINT}.crc"])
    files = {info.base_name: info for info in infos if info.type == fs.FileType.File}
    if HINT not in files:
        return None
    try:
        return ArrowLogStorage(filesystem, folder, files).read(HINT)
    except (UnreadableFile, FileNotFoundError):  # or a writer replaces it now
        return b""  # not readable
