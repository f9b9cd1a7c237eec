"""A Delta log written without Spark: the files that Delta and Hadoop's local file system would write."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.lake.integrity.delta_log import HINT, DeltaLog, UnreadableFile, commit_name
from tests.jobs.lake.integrity.damages import CHECKPOINT, LAST, day


def write_log(log: Path, table: str = "unclicked_items") -> None:
    """Write commits 0 to LAST, each of which replaces one day by one file, with Delta's checksum files."""
    log.mkdir(parents=True)
    files: dict[str, dict[str, Any]] = {}
    for version in range(LAST + 1):
        ds, rows = str(day(version)), version + 1
        replaced = files.pop(ds, None)
        files[ds] = {
            "path": f"ds={ds}/part-{version}.parquet",
            "partitionValues": {"ds": ds},
            "stats": json.dumps({"numRecords": rows}),
        }
        metrics = {"numFiles": "1", "numOutputRows": str(rows)} | ({"numRemovedFiles": "1"} if replaced else {})
        info = {
            "operation": "WRITE",
            "operationParameters": {"predicate": f"ds = DATE'{ds}'"},
            "operationMetrics": metrics,
        }
        actions: list[dict[str, Any]] = [{"commitInfo": info}]
        if version == 0:
            actions += [{"metaData": {"id": table}}, {"protocol": {"minReaderVersion": 1}}]
        actions += [{"add": files[ds]}]
        actions += [{"remove": {"path": replaced["path"], "partitionValues": {"ds": ds}}}] if replaced else []
        lines = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
        write_file(log / commit_name(version), lines.encode())
        write_file(log / f"{version:020d}.crc", json.dumps({"allFiles": list(files.values())}).encode())
        if version == 10:
            pq.write_table(pa.table({"path": [file["path"] for file in files.values()] * 100}), log / CHECKPOINT)
            write_file(log / CHECKPOINT, (log / CHECKPOINT).read_bytes())
            write_file(log / HINT, b'{"version":10,"size":3}')


def write_file(path: Path, content: bytes) -> None:
    """Write a file with a checksum file, as Hadoop does on a local disk."""
    path.write_bytes(content)
    path.with_name(f".{path.name}.crc").write_text(str(zlib.crc32(content)))


@dataclass(frozen=True)
class FolderStorage:
    """The files of a folder; reads fail if they do not match the checksum file."""

    folder: Path

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def identity(self, name: str) -> Hashable:
        return None

    def read(self, name: str, start: int = 0, *, verify_checksum: bool = True) -> bytes:
        content, checksum = (self.folder / name).read_bytes(), self.folder / f".{name}.crc"
        verified = verify_checksum and checksum.exists() and content  # Hadoop finds no fault in an empty file
        if verified and int(checksum.read_text()) != zlib.crc32(content):
            raise UnreadableFile("does not match its checksum")
        return content[start:]


def read_folder(log: Path) -> DeltaLog:
    """List a log on the local disk, as `hadoop_log.read_log` does."""
    storage = FolderStorage(log)
    hint = None
    if (log / HINT).exists():
        try:
            hint = storage.read(HINT)
        except UnreadableFile:
            hint = b""
    return DeltaLog(str(log.parent), names(log), storage, hint)


def names(log: Path) -> Collection[str]:
    return sorted(path.name for path in log.iterdir())


def can_read(log: Path, name: str) -> bool:
    try:
        pq.read_table(log / name)
    except Exception:
        return False
    return True
