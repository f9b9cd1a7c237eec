"""Where a day's model version, index and item list lie in the lake, and how a worker opens them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.common import tables
from jobs.common.artifacts import local_folder, reference
from jobs.common.partitions import Lake, NoSuchDay
from model.index import ItemIndex, VersionMismatch, load_index
from model.ivf_lists import use_one_thread
from model.towers import TwoTowers
from model.versions import load_model

ITEMS_FILE = "items.parquet"


@dataclass(frozen=True)
class ModelReference:
    """A model version as workers get it: names and folders, no weights."""

    version: str
    model: str
    index: str | None = None
    items: str | None = None


def model_version(lake: Lake, ds: dt.date) -> str:
    """The version trained on a day. Raises NoSuchDay where there is none."""
    row = lake.day(tables.MODEL_VERSIONS, ds).select("model_version").first()
    if row is None:
        raise NoSuchDay(f"no model was trained for {ds} in {lake.table_path(tables.MODEL_VERSIONS)}")
    return str(row[0])


def model_path(lake: Lake, version: str) -> str:
    return lake.model_path("models", version)


def index_path(lake: Lake, version: str, part: str) -> str:
    """`part` is a backend's name, or `items` for the items behind the indices."""
    return lake.model_path("indexes", f"{version}-{part}")


def refer(lake: Lake, ds: dt.date, backend: str | None = None) -> ModelReference:
    """The day's model, with an index and its items where a backend is named."""
    version = model_version(lake, ds)
    model = reference(lake.spark, model_path(lake, version))
    if backend is None:
        return ModelReference(version, model)
    index, items = (reference(lake.spark, index_path(lake, version, part)) for part in (backend, "items"))
    return ModelReference(version, model, index, items)


@cache
def open_towers(ref: ModelReference) -> TwoTowers:
    """The towers, verified and kept for as long as the worker lives; one thread a task."""
    torch.set_num_threads(1)
    return load_model(local_folder(ref.model), ref.version)[0]


@cache
def open_index(ref: ModelReference) -> tuple[ItemIndex, pa.Table]:
    """The index, and its items: item_id, available and q by item_index.

    Raises VersionMismatch where index or items are another model version's.
    """
    if ref.index is None or ref.items is None:
        raise TypeError(f"{ref} names no index")
    use_one_thread()
    items = pq.read_table(local_folder(ref.items) / ITEMS_FILE)
    if (got := (items.schema.metadata or {}).get(b"model_version", b"").decode()) != ref.version:
        raise VersionMismatch(f"{ref.items} lists the items of model version {got!r}, wanted {ref.version}")
    return load_index(local_folder(ref.index), ref.version), items


def batches_with_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)
