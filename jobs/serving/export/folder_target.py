"""A folder as a target of exports: a folder per version, with files of Parquet or JSON lines, and a pointer.

    FOLDER/current.json                      the version that readers follow
    FOLDER/VERSION/manifest.json             its files; written last, so a folder without it is not complete
    FOLDER/VERSION/shard-00000/part-...      lists, sorted by user_id within a file
    FOLDER/VERSION/progress/shard-00000.json shards that an export has written, until all are there

The folder can be on any file system that Spark writes. One export at a time may write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, ClassVar

import pyarrow.parquet as pq
from pyspark.sql import Observation
from pyspark.sql import functions as F

from jobs.lake.errors import disk_full_errors
from jobs.lake.file_layout import one_task_per_file
from jobs.lake.files import glob_statuses
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from jobs.serving.export.versioned_folder import MANIFEST, PROGRESS, VersionedFolder
from jobs.serving.export.versions import Version, lists_in_files
from model.training.processes.lines import say

FORMATS = ("parquet", "jsonl")


class FolderTarget(VersionedFolder):
    """A folder: a path or any Hadoop URI."""

    job, formats = "export_candidates", FORMATS
    manifest_fields: ClassVar[Mapping[str, type]] = {"candidates_version": int, "files": list}

    def begin(self, version: Version) -> tuple[Version, bool]:
        """The version as it is named here, and whether it is complete. Raises what `require_not_before` raises."""
        self.require_not_before(version)
        manifest = self._manifest(version.name)
        return version, manifest is not None and self._has_files(version.name, manifest["files"])

    def write(self, lake: Lake, version: Version) -> None:
        """Write the files that are not there yet, then the manifest. Raises ValueError if lists are missing."""
        shards = self._shards(version.name)
        done = {file for shard in shards.values() for file in shard["sources"]}
        missing = [file for file, rows in version.rows.items() if rows and file not in done]
        if shards:
            earlier = sum(shard["users"] for shard in shards.values())
            say(f"{earlier:,} of {version.users:,} lists are there from an earlier run")
        else:
            self._remove(version.name)  # the rest of an interrupted removal, or of a first shard
        tasks = lake.spark.sparkContext.defaultParallelism
        free = (number for number in count() if _shard(number) not in shards)
        for start in range(0, len(missing), tasks):
            shard, sources = _shard(next(free)), missing[start : start + tasks]
            shards[shard] = self._write_shard(lake, version, shard, sources)
            self._put(f"{version.name}/{PROGRESS}/{shard}.json", shards[shard])
        users = sum(shard["users"] for shard in shards.values())
        if users != version.users:
            raise ValueError(f"{self.shown} must have {version.users:,} lists of {version.name}, got {users:,}")
        files = [file for shard in shards.values() for file in shard["files"]]
        self._put(f"{version.name}/{MANIFEST}", {**version.description, "files": files})
        self._remove(f"{version.name}/{PROGRESS}")

    def _write_shard(self, lake: Lake, version: Version, shard: str, sources: list[str]) -> dict[str, Any]:
        folder = self._path(version.name, shard)
        if (local := local_path(folder)) is not None:  # where its files are looked for, whatever Spark's default is
            folder = f"file://{local}"
        counted = Observation()
        rows = lists_in_files(lake, version, sources).drop("file").observe(counted, F.count(F.lit(1)).alias("users"))
        with one_task_per_file(lake.spark), disk_full_errors(folder):
            writer = rows.write.mode("overwrite")
            if version.format == "parquet":
                writer.parquet(folder)
            else:
                writer.json(folder, ignoreNullFields=False)
        users, sizes = counted.get["users"], self._sizes(version.name, shard)
        there = self._rows(folder, sizes) if version.format == "parquet" else users if sizes else 0
        if there != users:
            raise ValueError(
                f"{folder} must have the {users:,} lists that were written, got {there:,} in {len(sizes)} files: all "
                "executors must write the file system that this process reads; a path is on its local or mounted disk"
            )
        files = [{"path": f"{shard}/{name}", "bytes": size} for name, size in sizes.items()]
        return {"sources": sources, "users": users, "files": files}

    def _rows(self, folder: str, names: Iterable[str]) -> int:
        """The rows of files of Parquet."""
        if (local := local_path(folder)) is not None:
            return sum(pq.read_metadata(local / name).num_rows for name in names)
        return self._session().read.parquet(folder).count() if names else 0

    def _shards(self, name: str) -> dict[str, dict[str, Any]]:
        """What the shards have that an earlier run has written whole, by the shard's name."""
        found = {}
        for file in self._names(name, PROGRESS, "shard-*.json"):
            shard = self._json(f"{name}/{PROGRESS}/{file}", {"sources": list, "users": int, "files": list})
            if shard is not None and self._has_files(name, shard["files"]):
                found[file.removesuffix(".json")] = shard
        return found

    def _has_files(self, name: str, files: Iterable[Mapping[str, Any]]) -> bool:
        wanted = {file["path"]: file["bytes"] for file in files}
        shards = {path.partition("/")[0] for path in wanted}
        there = {f"{shard}/{file}": size for shard in shards for file, size in self._sizes(name, shard).items()}
        return wanted.items() <= there.items()

    def _sizes(self, name: str, shard: str) -> dict[str, int]:
        """The files of a shard with their bytes, sorted by name."""
        if (folder := local_path(self._path(name, shard))) is not None:
            return {file.name: file.stat().st_size for file in sorted(folder.glob("part-*"))}
        statuses = glob_statuses(self._session(), self._path(name, shard, "part-*"))
        return dict(sorted((str(one.getPath().getName()), int(one.getLen())) for one in statuses))


def _shard(number: int) -> str:
    return f"shard-{number:05}"
