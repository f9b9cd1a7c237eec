"""Build the indexes of a day over its item_embeddings, and store them in the lake."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.inference.index_measurement import Measurement, Vectors, build_explore_index, build_indexes
from jobs.inference.references import EXPLORE, ITEMS, NEIGHBOURS, index_path
from jobs.lake import tables
from jobs.lake.files import put_folder
from jobs.lake.lake import Lake
from jobs.workers.item_details import FORMAT, ITEMS_FILE, NEIGHBOURS_FILE, NEIGHBOURS_FORMAT, POPULAR_FILE, ItemDetails
from model.artifacts.verified_folder import sha256
from model.data.item_vectors import dimension_of, sorted_vectors
from model.data.parquet_files import batches_of, read_files
from model.search.tuning import Sample
from model.training.processes.lines import warn

NEIGHBOUR = pa.struct([("item_index", pa.int32()), ("similarity", pa.float32())])
NO_NEIGHBOURS = pa.table({"item_index": pa.array([], pa.int32()), "neighbours": pa.array([], pa.list_(NEIGHBOUR))})


def store_indexes(lake: Lake, config: Config, ds: dt.date, version: str, sample: Sample) -> DataFrame:
    """Build and measure the configured indexes over the available items and store them; returns rows of item_indexes.

    The vectors go from the files of item_embeddings, not through the JVM, into a file in the folder of temporary files,
    which is memory-mapped (docs/cluster.md: what that takes). The folder's name contains a hash of its content, so that
    a worker never confuses an open index with a newer one. Raises RecallNotReached if no index that may be searched
    reaches the recall; nothing is stored then.
    """
    files = lake.pinned(tables.ITEM_EMBEDDINGS, ds, 1).files
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as temporary:
        folder, work = (Path(temporary) / name for name in ("parts", "work"))
        folder.mkdir()
        measurements = build_parts(config, files, version, sample, folder, work)
        if config.scoring.neighbour_quota:
            write_neighbours(folder / NEIGHBOURS, _neighbours(lake, ds), version)
        details = _item_details(lake, config, ds, files)
        write_item_details(folder / ITEMS, details, version, config.scoring.category_feature)
        name = f"{version}-{_content_hash(folder)}"
        for part in sorted(folder.iterdir()):
            put_folder(lake.spark, part, index_path(lake, ds, name, part.name))
    made = [{"ds": ds, "model_version": version, "folder": name, **asdict(row)} for row in measurements]
    schema = tables.ITEM_INDEXES.schema
    return lake.spark.createDataFrame([tuple(row[name] for name in schema.names) for row in made], schema)


def build_parts(
    config: Config, files: Sequence[str], version: str, sample: Sample, folder: Path, work: Path
) -> list[Measurement]:
    """Save the indexes of the items that are available, and that of the items to explore, under `folder`.

    files: of item_embeddings. work: a folder for what is read while they are built; it is deleted.
    """
    measurements = build_indexes(config.index, vectors(files, "embedding", version, work, "available"), sample, folder)
    shutil.rmtree(work)
    if config.scoring.explore_quota:
        chosen = next(row.backend for row in measurements if row.is_chosen)
        explored = vectors(files, "feature_embedding", version, work)  # made from their features without the id
        build_explore_index(config.index, explored, sample, chosen).save(folder / EXPLORE)
        shutil.rmtree(work)
    return measurements


def vectors(files: Sequence[str], column: str, version: str, work: Path, only: str = "") -> Vectors:
    """The vectors in a column of item_embeddings, of the rows in which it is not null, in a file in the folder `work`.

    only: a Boolean column of the rows to read, "" for all.
    """
    work.mkdir()
    embeddings, item_indices = sorted_vectors(files, column, work, dimension_of(files, "embedding"), only)
    return Vectors(embeddings, item_indices, version, work)


def write_item_details(folder: Path, details: ItemDetails, version: str, category_feature: str) -> None:
    """Write the details as a verified folder. category_feature: the item feature of the categories, "" for none."""
    files = {ITEMS_FILE: details.items, POPULAR_FILE: details.popular}
    fields = {"model_version": version, "category": category_feature}
    FORMAT.write(folder, fields, {name: partial(pq.write_table, table) for name, table in files.items()})


def write_neighbours(folder: Path, neighbours: Iterable[pa.RecordBatch], version: str) -> None:
    """Write rows (item_index, neighbours) of item_neighbours as a verified folder, a batch at a time."""

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, NO_NEIGHBOURS.schema) as file:
            for batch in neighbours:
                file.write_table(pa.Table.from_batches([batch]).cast(NO_NEIGHBOURS.schema))

    NEIGHBOURS_FORMAT.write(folder, {"model_version": version}, {NEIGHBOURS_FILE: write})


def _item_details(lake: Lake, config: Config, ds: dt.date, files: Sequence[str]) -> ItemDetails:
    embeddings = read_files(files, ["item_id", "item_index", "available"])
    popular = read_files(lake.pinned(tables.POPULAR_ITEMS, ds, 1).files)
    items = items_by_index(embeddings, _categories(lake, config, ds))
    return ItemDetails(items, available_popular(popular, embeddings))


def items_by_index(embeddings: pa.Table, categories: pa.Table | None) -> pa.Table:
    """Rows (item_id, available, category); row n is the item with index n, item_id null if there is no such item.

    Raises ValueError if there are no items at all.
    """
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


def _neighbours(lake: Lake, ds: dt.date) -> Iterator[pa.RecordBatch]:
    """The day's rows of item_neighbours; none, with a warning, if it has none, as before the first pairs of clicks."""
    if not lake.has_day(tables.ITEM_NEIGHBOURS, ds):
        warn(
            f"item_neighbours has no row for {ds}: the towers fill the positions of scoring.neighbour_quota. "
            "If the quota was set after the day's tables were built, run build_item_pairs and build_item_neighbours",
        )
        return iter(())
    return batches_of(lake.pinned(tables.ITEM_NEIGHBOURS, ds, 1).files, NO_NEIGHBOURS.column_names)


def _categories(lake: Lake, config: Config, ds: dt.date) -> pa.Table | None:
    """Rows (item_index, category); the first value of a list feature. None if no category feature is configured."""
    name = config.scoring.category_feature
    if not name:
        return None
    rows = read_files(lake.pinned(tables.item_snapshot(config), ds, 1).files, ["item_index", name])
    category = rows[name] if pa.types.is_integer(rows[name].type) else pc.list_element(rows[name], 0)
    return pa.table({"item_index": rows["item_index"], "category": category})


def _content_hash(folder: Path) -> str:
    """Eight hexadecimal digits of a hash of verified folders: of their manifests, which have the sums of all files."""
    manifests = sorted(folder.glob("*/*.json"))
    sums = [f"{file.relative_to(folder)} {sha256(file)}" for file in manifests]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:8]
