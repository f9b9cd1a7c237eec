"""What scoring reads about the items in addition to their vectors: ids, availability, categories, popular items.

They are stored as a verified folder of two Parquet files, next to the day's indexes. The neighbours of the items, which
not every configuration reads, have a folder of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.artifacts.formats import IndexCorrupt, VersionMismatch
from model.artifacts.verified_folder import ArtifactFormat

ITEMS_FILE, POPULAR_FILE, NEIGHBOURS_FILE = "items.parquet", "popular.parquet", "neighbours.parquet"
FORMAT = ArtifactFormat("items.json", {"model_version": str, "category": str}, IndexCorrupt)
NEIGHBOURS_FORMAT = ArtifactFormat("neighbours.json", {"model_version": str}, IndexCorrupt)
NEIGHBOUR = pa.struct([("item_index", pa.int32()), ("similarity", pa.float32())])
NO_NEIGHBOURS = pa.table({"item_index": pa.array([], pa.int32()), "neighbours": pa.array([], pa.list_(NEIGHBOUR))})


class ItemDetails(NamedTuple):
    """items: rows (item_id or null, available, category), one per item_index. popular: rows of popular_items."""

    items: pa.Table
    popular: pa.Table


def write_item_details(folder: Path, details: ItemDetails, version: str, category_feature: str) -> None:
    """Write the details as a verified folder. category_feature: the item feature of the categories, "" for none."""
    files = {ITEMS_FILE: details.items, POPULAR_FILE: details.popular}
    fields = {"model_version": version, "category": category_feature}
    FORMAT.write(folder, fields, {name: partial(pq.write_table, table) for name, table in files.items()})


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


def write_neighbours(folder: Path, neighbours: Iterable[pa.RecordBatch], version: str) -> None:
    """Write rows (item_index, neighbours) of item_neighbours as a verified folder, a batch at a time."""

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, NO_NEIGHBOURS.schema) as file:
            for batch in neighbours:
                file.write_table(pa.Table.from_batches([batch]).cast(NO_NEIGHBOURS.schema))

    NEIGHBOURS_FORMAT.write(folder, {"model_version": version}, {NEIGHBOURS_FILE: write})


def read_neighbours(folder: Path, version: str) -> pa.Table:
    """The rows in a folder. Raises IndexCorrupt if it is damaged, VersionMismatch for another model version."""
    manifest = NEIGHBOURS_FORMAT.read_manifest(folder)
    if (got := manifest["model_version"]) != version:
        raise VersionMismatch(f"{folder} must be of model version {version!r}, got {got!r}")
    NEIGHBOURS_FORMAT.verify_files(folder, manifest, {NEIGHBOURS_FILE})
    return pq.read_table(folder / NEIGHBOURS_FILE)


def items_by_index(embeddings: pa.Table, categories: pa.Table | None) -> pa.Table:
    """Rows (item_id, available, category); row n is the item with index n, item_id null if there is no such item."""
    size = int(embeddings["item_index"].to_numpy().max()) + 1
    rows = np.full(size, -1)  # row of `embeddings` by item index; -1 if there is none
    rows[embeddings["item_index"].to_numpy()] = np.arange(embeddings.num_rows)
    taken = pa.array(rows, mask=rows < 0)
    category = np.zeros(size, dtype=np.int32)  # [I]
    if categories is not None:
        category[categories["item_index"].to_numpy()] = categories["category"].to_numpy()
    item_ids, available = (embeddings[name].combine_chunks().take(taken) for name in ("item_id", "available"))
    return pa.table({"item_id": item_ids, "available": available.fill_null(False), "category": category})


def available_popular(popular: pa.Table, embeddings: pa.Table) -> pa.Table:
    """Rows of popular_items by segment and rank, without the items that are not available in item_embeddings."""
    available = embeddings.filter(embeddings["available"])["item_index"]
    popular = popular.filter(pc.is_in(popular["item_index"], value_set=available.combine_chunks()))
    return popular.sort_by([("segment", "ascending"), ("rank", "ascending")])
