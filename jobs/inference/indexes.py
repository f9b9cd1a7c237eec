"""The indexes of a day: built over its item_embeddings, measured, and put into the lake."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from threadpoolctl import threadpool_limits

from jobs.config.loading import Config
from jobs.inference.references import EXPLORE, ITEMS, index_path
from jobs.inference.scoring import ITEMS_FILE, POPULAR_FILE
from jobs.lake import tables
from jobs.lake.files import put_folder
from jobs.lake.lake import Lake
from model.artifacts.index_files import write_folder
from model.artifacts.verified_folder import sha256
from model.data.item_tables import read_files
from model.search.indexes import ApproximateIndex, ExactIndex, ItemIndex, build_index
from model.search.tuning import RecallNotReached, Sample, tuned


@dataclass
class Measured:
    """A row of item_indexes without `ds` and `model_version`; None where a measurement does not apply."""

    backend: str
    items: int
    sampled_users: int
    k: int
    is_chosen: bool = False
    search_budget: int | None = None
    recall: float | None = None
    users_per_second: float | None = None
    build_seconds: float = 0.0


def put_indexes(lake: Lake, config: Config, ds: dt.date, version: str, sample: Sample) -> DataFrame:
    """Builds and measures the configured indexes over the available items, and puts them; rows of item_indexes.

    An index needs its matrix in memory, here as where it is searched: it is read file by file, not through the JVM.
    What is put has a name by its content, so that a worker which has one opened never takes it for another.
    Raises RecallNotReached where the index to be searched falls short; what was searched before stays.
    """
    rows = read_files(lake.pinned(tables.ITEM_EMBEDDINGS, ds, 1).files)
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as text:
        folder = Path(text)
        found = _built(config, rows, version, sample, folder)
        if config.scoring.explore_quota:
            backend = next(one.backend for one in found if one.is_chosen)
            explored_index(config, rows, version, sample, backend).save(folder / EXPLORE)
        _write_items(lake, config, ds, rows, version, folder / ITEMS)
        name = f"{version}-{_content(folder)}"
        for part in sorted(folder.iterdir()):
            put_folder(lake.spark, part, index_path(lake, ds, name, part.name))
    listed = [{"ds": ds, "model_version": version, "folder": name, **asdict(one)} for one in found]
    schema = tables.ITEM_INDEXES.schema
    return lake.spark.createDataFrame([tuple(row[name] for name in schema.names) for row in listed], schema)


def _built(config: Config, rows: pa.Table, version: str, sample: Sample, folder: Path) -> list[Measured]:
    """Saves the indexes that reach the target, one of them marked to be searched; what was measured of each."""
    vectors, item_indices = _vectors(rows.filter(rows["available"]), "embedding")
    found: list[Measured] = []
    short: dict[str, RecallNotReached] = {}
    with threadpool_limits(limits=1):  # what a task with one core can use
        began = time.perf_counter()
        exact = ExactIndex.build(vectors, item_indices, model_version=version)
        exact_seconds = time.perf_counter() - began
        wanted, speed = sample.search(exact) if len(sample) else (np.empty((0, sample.k)), 0.0)  # [N, K]
        for backend in config.index.build_backends:
            index: ItemIndex = exact
            build_seconds = exact_seconds
            if backend != exact.backend:
                began = time.perf_counter()
                index = build_index(backend, vectors, item_indices, model_version=version, **_options(config, backend))
                build_seconds = time.perf_counter() - began
            one = Measured(backend, len(index), len(sample), sample.k, build_seconds=build_seconds)
            if len(sample) and index.is_exact:
                one.recall, one.users_per_second = 1.0, speed
            elif len(sample):
                try:
                    index, one.recall, one.users_per_second = _tuned(index, wanted, sample, config)
                except RecallNotReached as error:
                    short[backend] = error
                    continue
            one.search_budget = None if index.is_exact else index.search_budget  # type: ignore[attr-defined]
            index.save(folder / backend)
            found.append(one)
    _choose(found, short, config.index.backend)
    for why in short.values():
        print(f"warning: {why}; it was not put into the lake", flush=True)
    return found


def explored_index(config: Config, rows: pa.Table, version: str, sample: Sample, backend: str) -> ItemIndex:
    """An index of what is explored: of the backend that was chosen, or exact where that misses the target here."""
    vectors, item_indices = _vectors(rows, "feature_embedding")
    exact = ExactIndex.build(vectors, item_indices, model_version=version)
    if backend == exact.backend or not len(sample) or not len(exact):
        return exact
    with threadpool_limits(limits=1):
        index = build_index(backend, vectors, item_indices, model_version=version, **_options(config, backend))
        try:
            return _tuned(index, sample.search(exact)[0], sample, config)[0]
        except RecallNotReached:
            return exact


def _content(folder: Path) -> str:
    """Eight digits that tell what lies in a folder from anything else."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sums = [f"{file.relative_to(folder)} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:8]


def _tuned(index: ItemIndex, wanted: np.ndarray, sample: Sample, config: Config) -> tuple[ItemIndex, float, float]:
    assert isinstance(index, ApproximateIndex)
    return tuned(index, wanted, sample, config.index.recall_target)


def _choose(found: list[Measured], short: dict[str, RecallNotReached], backend: str) -> None:
    """Mark the index to be searched: the named one, or of all that reach the target the cheapest.

    Raises RecallNotReached where there is none.
    """
    fit = [one for one in found if backend in ("auto", one.backend)]
    if not fit:
        raise RecallNotReached("; ".join(map(str, short.values())))
    max(fit, key=lambda one: one.users_per_second or 0).is_chosen = True


def _write_items(lake: Lake, config: Config, ds: dt.date, embedded: pa.Table, version: str, folder: Path) -> None:
    """What scoring knows of the items beside the vectors: their ids and categories, and what of them is popular."""
    popular = read_files(lake.pinned(tables.POPULAR_ITEMS, ds, 1).files)
    available = embedded.filter(embedded["available"])["item_index"]  # may be fewer than when it was counted
    popular = popular.filter(pc.is_in(popular["item_index"], value_set=available.combine_chunks()))
    popular = popular.sort_by([("segment", "ascending"), ("rank", "ascending")])
    items = listed(embedded, _categories(lake, config, ds))
    manifest = {
        "backend": ITEMS,
        "metric": "none",
        "dimension": len(embedded["embedding"][0]),
        "item_count": embedded.num_rows,
        "model_version": version,
        "options": {"category": config.scoring.category_feature},
    }
    files = {ITEMS_FILE: items, POPULAR_FILE: popular}
    write_folder(folder, manifest, {name: partial(pq.write_table, table) for name, table in files.items()})


def _categories(lake: Lake, config: Config, ds: dt.date) -> pa.Table | None:
    """(item_index, category) of each item, by the first value of a list; None where there is no cap."""
    name = config.scoring.category_feature
    if not name:
        return None
    rows = read_files(lake.pinned(tables.item_snapshot(config), ds, 1).files)
    category = rows[name] if pa.types.is_integer(rows[name].type) else pc.list_element(rows[name], 0)
    return pa.table({"item_index": rows["item_index"], "category": category})


def listed(rows: pa.Table, categories: pa.Table | None) -> pa.Table:
    """item_id (null where there is none), available and category by item_index."""
    size = int(rows["item_index"].to_numpy().max()) + 1
    order = np.full(size, -1)  # where in the table an index stands
    order[rows["item_index"].to_numpy()] = np.arange(rows.num_rows)
    where = pa.array(order, mask=order < 0)
    category = np.zeros(size, dtype=np.int32)  # [I]
    if categories is not None:
        category[categories["item_index"].to_numpy()] = categories["category"].to_numpy()
    item_ids, available = (rows[name].combine_chunks().take(where) for name in ("item_id", "available"))
    return pa.table({"item_id": item_ids, "available": available.fill_null(False), "category": category})


def _vectors(rows: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 [I, D] and item indices int64 [I] of the I rows that have a vector there; D is that of all vectors."""
    size = len(rows["embedding"][0]) if rows.num_rows else 1
    rows = rows.filter(rows[column].is_valid())
    vectors = rows[column].combine_chunks().flatten().to_numpy()
    return vectors.reshape(rows.num_rows, size), rows["item_index"].to_numpy().astype(np.int64)


def _options(config: Config, backend: str) -> dict[str, int]:
    return {"annoy": {"n_trees": config.index.annoy_trees}, "ivf": {"lists": config.index.ivf_lists}}.get(backend, {})
