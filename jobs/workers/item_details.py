"""What scoring reads about the items in addition to their vectors: ids, availability, categories, popular items.

`jobs.inference.index_building` stores them as a verified folder of two Parquet files, next to the day's indexes. The
neighbours of the items, which not every configuration reads, have a folder of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from model.artifacts.formats import IndexCorrupt, VersionMismatch
from model.artifacts.verified_folder import ArtifactFormat

ITEMS_FILE, POPULAR_FILE, NEIGHBOURS_FILE = "items.parquet", "popular.parquet", "neighbours.parquet"
FORMAT = ArtifactFormat("items.json", {"model_version": str, "category": str}, IndexCorrupt)
NEIGHBOURS_FORMAT = ArtifactFormat("neighbours.json", {"model_version": str}, IndexCorrupt)


class ItemDetails(NamedTuple):
    """items: rows (item_id or null, available, category), one per item_index. popular: rows of popular_items."""

    items: pa.Table
    popular: pa.Table


def read_item_details(folder: Path, version: str, category_feature: str) -> ItemDetails:
    """The details in a folder.

    Raises IndexCorrupt if a file is damaged, VersionMismatch for another model version, and ValueError if the folder
    was written with another category feature.
    """
    manifest = FORMAT.read_manifest(folder)
    if (got := manifest["model_version"]) != version:
        raise VersionMismatch(f"{folder} must list the items of model version {version!r}, got {got!r}")
    if (built_with := manifest["category"]) != category_feature:
        raise ValueError(
            f"scoring.category_feature must be {built_with!r}, with which the index in {folder} was built, "
            f"got {category_feature!r}: run build_item_index again"
        )
    FORMAT.verify_files(folder, manifest, {ITEMS_FILE, POPULAR_FILE})
    return ItemDetails(pq.read_table(folder / ITEMS_FILE), pq.read_table(folder / POPULAR_FILE))


def read_neighbours(folder: Path, version: str) -> pa.Table:
    """The rows in a folder. Raises IndexCorrupt if it is damaged, VersionMismatch for another model version."""
    manifest = NEIGHBOURS_FORMAT.read_manifest(folder)
    if (got := manifest["model_version"]) != version:
        raise VersionMismatch(f"{folder} must be of model version {version!r}, got {got!r}")
    NEIGHBOURS_FORMAT.verify_files(folder, manifest, {NEIGHBOURS_FILE})
    return pq.read_table(folder / NEIGHBOURS_FILE)
