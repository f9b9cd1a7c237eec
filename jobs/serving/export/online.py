"""Exports what a service needs to embed users between two days: user tower, vocabularies and vectors of the items.

All of it is of one publication, in a folder of versions (`versioned_folder.py`). A version is a verified folder
(model/towers/online/folder.py), which is complete or absent.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from pyspark.sql import Row

from jobs.config.features import HISTORY
from jobs.inference.references import model_path
from jobs.lake import tables
from jobs.lake.errors import disk_full_errors
from jobs.lake.files import folder_reference, glob_statuses, put_folder
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from jobs.serving.export.versioned_folder import VersionedFolder
from jobs.serving.export.versions import NAME, Version, publication_to_export, version_name, version_of
from jobs.workers.folders import local_folder
from model.artifacts.formats import ONLINE_MODEL, OnlineModelCorrupt
from model.artifacts.model_version import load_model
from model.towers import TwoTowers
from model.towers.online.folder import write_online_model
from model.towers.online.ids import SortedIds, Vocabulary
from model.towers.online.inputs import Input
from model.towers.online.program import exported_user_tower
from model.training.processes.lines import say
from model.vocabulary import FIRST_INDEX, UNKNOWN

FORMAT = "online"
PUBLICATION = ("publication", "ds", "model_version", "candidates_version")  # what a manifest has of it
DRAFT = re.compile(rf"\.?{NAME.pattern}\.[0-9a-f]+\.(draft|old)")  # of a writer that was killed


class OnlineFolder(VersionedFolder):
    """The folder of online models: a path or any Hadoop URI."""

    job, formats, age = "export_user_tower", (FORMAT,), "forgotten_users"
    manifest_fields: ClassVar[Mapping[str, type]] = {"candidates_version": int, "files": dict, "items": int}

    def is_complete(self, name: str) -> bool:
        """Whether a version is there with all of its files: of their size, on a local disk also of their content."""
        if (folder := local_path(self._path(name))) is None:
            manifest = self._manifest(name)
            statuses = glob_statuses(self._session(), self._path(name, "*")) if manifest else ()
            found = {str(one.getPath().getName()): one.getLen() for one in statuses}
            return manifest is not None and all(
                found.get(file) == facts["size"] for file, facts in manifest["files"].items()
            )
        try:
            manifest = ONLINE_MODEL.read_manifest(folder)
            ONLINE_MODEL.verify_files(folder, manifest, manifest["files"])
        except OnlineModelCorrupt:
            return False
        return True

    def write(
        self,
        lake: Lake,
        publication: Row,
        version: Version,
        towers: TwoTowers,
        vocabularies: Mapping[str, Vocabulary],
        forgotten: int,
    ) -> None:
        """Write a version, which is complete or absent. Raises DiskFull, and what `exported_user_tower` raises.

        forgotten: how many users the lake's vocabularies have forgotten.
        """
        for draft in filter(DRAFT.fullmatch, self._names("*")):
            self._remove(draft)
        program = exported_user_tower(towers)
        items, vectors = eligible_items_of(lake, publication, towers.spec.embedding_dim)
        fields = {**{name: version.description[name] for name in PUBLICATION}, self.age: forgotten}
        uri = self._path(version.name)
        with tempfile.TemporaryDirectory(prefix="batch-recall-") as temporary, disk_full_errors(uri):
            local = local_path(uri)
            folder = local or Path(temporary, version.name)
            write_online_model(folder, program, towers.spec, fields, HISTORY, vocabularies, items, vectors)
            if local is None:
                put_folder(lake.spark, folder, uri)

    def item_count(self, name: str) -> int:
        """The number of items of a complete version."""
        return int((self._manifest(name) or {})["items"])


def export_online(lake: Lake, folder: OnlineFolder, model_version: str | None, kept: int) -> int:
    """Export the publication that readers follow now, or the last one of a model; returns its number of items.

    Writes nothing if it is there already, and only the pointer if its files are. kept: versions that stay there.
    Raises what `publication_to_export`, `require_not_before` and `OnlineFolder.write` raise; readers then have what
    they had before.
    """
    publication = publication_to_export(lake, model_version)
    towers = published_towers(lake, publication.model_version)
    numbered = lake.small_table(tables.VOCABULARIES)
    vocabularies, forgotten = vocabularies_of(numbered, towers), forgotten_users(numbered)
    version = online_version(lake, publication, vocabularies)
    folder.require_not_before(version)
    if not (is_there := folder.is_complete(version.name)):
        folder.write(lake, publication, version, towers, vocabularies, forgotten)
    is_new = folder.switch(version)
    what = f"publication {version.publication} of {version.ds} ({version.name})"
    files = "were there already" if is_there else "are written"
    done = f"its files {files}, and readers follow them now" if is_new else "readers follow its files already"
    say(f"{what} in {folder.shown}: {done}")
    if removed := folder.remove_old(version, kept, lambda number: number < forgotten):
        say(f"earlier exports that were removed from {folder.shown}: {removed}")
    report_own_encodings(towers)
    return folder.item_count(version.name)


def published_towers(lake: Lake, model_version: str) -> TwoTowers:
    """The verified towers of a model version. Raises ModelCorrupt."""
    path = model_path(lake, model_version)
    folder = local_path(path) or local_folder(folder_reference(lake.spark, path))
    return load_model(folder, model_version)[0]


def forgotten_users(numbered: pl.DataFrame) -> int:
    """How many users the vocabularies have forgotten: their rows stay, without a value. The number only grows."""
    return numbered["value"].null_count()


def vocabularies_of(numbered: pl.DataFrame, towers: TwoTowers) -> dict[str, Vocabulary]:
    """The values that the user tower has a row for, by vocabulary; all others are unknown to it."""
    names = sorted({feature.vocabulary for feature in towers.spec.user if feature.vocabulary})
    return {name: vocabulary_of(numbered.filter(pl.col("feature") == name), name, towers) for name in names}


def vocabulary_of(numbered: pl.DataFrame, name: str, towers: TwoTowers) -> Vocabulary:
    """The values of one vocabulary that the user tower has a row for.

    numbered: its rows (value, index); value is null where a user was forgotten.
    """
    numbered = numbered.drop_nulls("value").sort("value")
    indices = torch.from_numpy(numbered["index"].cast(pl.Int64).to_numpy().copy())
    feature = next(feature for feature in towers.spec.user if feature.vocabulary == name)
    indices = torch.where(indices < towers.spec.vocabulary_sizes[name], indices, UNKNOWN)  # values newer than the model
    rows = towers.user.rows_of(feature, indices)
    known = rows.numpy() >= FIRST_INDEX
    return Vocabulary(SortedIds(_text(numbered["value"].filter(pl.Series(known)))), rows.numpy()[known])


def eligible_items_of(lake: Lake, publication: Row, dimension: int) -> tuple[SortedIds, np.ndarray]:
    """The items that may be shown, and their vectors float32 [I, D], exactly as they were published."""
    columns, version = ["item_id", "available", "embedding"], publication.item_embeddings_version
    batches = lake.batches(tables.ITEM_EMBEDDINGS, publication.ds, columns, version=version)
    parts = [batch.filter("available").select("item_id", "embedding") for batch in batches]
    none = pl.DataFrame(schema={"item_id": pl.String, "embedding": pl.List(pl.Float32)})
    items = pl.concat([none, *parts]).sort("item_id")
    vectors = items["embedding"].explode(empty_as_null=False).to_numpy().reshape(items.height, dimension)
    return SortedIds(_text(items["item_id"])), vectors


def online_version(lake: Lake, publication: Row, vocabularies: Mapping[str, Vocabulary]) -> Version:
    """The version of a publication.

    Its name depends on what it consists of, so that a rollback finds what was exported before. The vocabularies of a
    model can only lose ids, of users who are forgotten, so their sizes say which they are.
    """
    sizes = [len(vocabulary.ids) for _, vocabulary in sorted(vocabularies.items())]
    content = (publication.model_version, publication.candidates_version, publication.item_embeddings_version, *sizes)
    return version_of(lake, publication, FORMAT, version_name(publication.ds, FORMAT, ONLINE_MODEL.version, *content))


def report_own_encodings(towers: TwoTowers) -> None:
    """Print which numbers a service must encode itself, if there are any."""
    for one in (Input.of_feature(feature, HISTORY) for feature in towers.spec.user if not feature.is_gaps):
        if one.encoding is not None:
            say(f"feature {one.feature}: a service must give the result of {one.encoding}")


def _text(values: pl.Series) -> pa.Array:
    return values.to_arrow().cast(pa.large_string())
