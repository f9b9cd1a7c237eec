"""Build the indexes of a day over its item_embeddings, and store them in the lake."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.inference.index_measurement import Vectors, build_explore_index, build_indexes
from jobs.inference.item_details import (
    NO_NEIGHBOURS,
    ItemDetails,
    available_popular,
    items_by_index,
    write_item_details,
    write_neighbours,
)
from jobs.inference.references import EXPLORE, ITEMS, NEIGHBOURS, index_path
from jobs.lake import tables
from jobs.lake.files import put_folder
from jobs.lake.lake import Lake
from model.artifacts.verified_folder import sha256
from model.data.parquet_files import read_files
from model.search.tuning import Sample
from model.training.processes.lines import warn


def store_indexes(lake: Lake, config: Config, ds: dt.date, version: str, sample: Sample) -> DataFrame:
    """Build and measure the configured indexes over the available items and store them; returns rows of item_indexes.

    All vectors must fit in memory, as they must where the index is searched; they are read from the files, not through
    the JVM. The folder's name contains a hash of its content, so that a worker never confuses an open index with a
    newer one. Raises RecallNotReached if no index that may be searched reaches the recall; nothing is stored then.
    """
    rows = read_files(lake.pinned(tables.ITEM_EMBEDDINGS, ds, 1).files)
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as temporary:
        folder = Path(temporary)
        measurements = build_indexes(config.index, _available(rows, version), sample, folder)
        if config.scoring.explore_quota:
            chosen = next(row.backend for row in measurements if row.is_chosen)
            build_explore_index(config.index, _explored(rows, version), sample, chosen).save(folder / EXPLORE)
        if config.scoring.neighbour_quota:
            write_neighbours(folder / NEIGHBOURS, _neighbours(lake, ds), version)
        details = _item_details(lake, config, ds, rows)
        write_item_details(folder / ITEMS, details, version, config.scoring.category_feature)
        name = f"{version}-{_content_hash(folder)}"
        for part in sorted(folder.iterdir()):
            put_folder(lake.spark, part, index_path(lake, ds, name, part.name))
    made = [{"ds": ds, "model_version": version, "folder": name, **asdict(row)} for row in measurements]
    schema = tables.ITEM_INDEXES.schema
    return lake.spark.createDataFrame([tuple(row[name] for name in schema.names) for row in made], schema)


def _available(rows: pa.Table, version: str) -> Vectors:
    """The embeddings of the items that are available."""
    return vectors(rows.filter(rows["available"]), "embedding", version)


def _explored(rows: pa.Table, version: str) -> Vectors:
    """The embeddings of the items to explore, which are made from their features without the id."""
    return vectors(rows, "feature_embedding", version)


def vectors(rows: pa.Table, column: str, version: str) -> Vectors:
    """The vectors in a column of item_embeddings, of the rows in which it is not null."""
    dimension = len(rows["embedding"][0]) if rows.num_rows else 1
    rows = rows.filter(rows[column].is_valid())
    embeddings = rows[column].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, dimension)
    return Vectors(embeddings, rows["item_index"].to_numpy().astype("int64"), version)


def _item_details(lake: Lake, config: Config, ds: dt.date, embeddings: pa.Table) -> ItemDetails:
    popular = read_files(lake.pinned(tables.POPULAR_ITEMS, ds, 1).files)
    items = items_by_index(embeddings, _categories(lake, config, ds))
    return ItemDetails(items, available_popular(popular, embeddings))


def _neighbours(lake: Lake, ds: dt.date) -> pa.Table:
    """The day's rows of item_neighbours; none, with a warning, if it has none, as before the first pairs of clicks."""
    if not lake.has_day(tables.ITEM_NEIGHBOURS, ds):
        warn(
            f"item_neighbours has no row for {ds}: the towers fill the positions of scoring.neighbour_quota. "
            "If the quota was set after the day's tables were built, run build_item_pairs and build_item_neighbours",
        )
        return NO_NEIGHBOURS
    return read_files(lake.pinned(tables.ITEM_NEIGHBOURS, ds, 1).files).select(NO_NEIGHBOURS.column_names)


def _categories(lake: Lake, config: Config, ds: dt.date) -> pa.Table | None:
    """Rows (item_index, category); the first value of a list feature. None if no category feature is configured."""
    name = config.scoring.category_feature
    if not name:
        return None
    rows = read_files(lake.pinned(tables.item_snapshot(config), ds, 1).files, ["item_index", name])
    category = rows[name] if pa.types.is_integer(rows[name].type) else pc.list_element(rows[name], 0)
    return pa.table({"item_index": rows["item_index"], "category": category})


def _content_hash(folder: Path) -> str:
    """Eight hexadecimal digits of a hash of the names and contents of all files in a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sums = [f"{file.relative_to(folder)} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:8]
