"""Where a day's model version and what is searched with it lie in the lake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Row

from jobs.lake import tables
from jobs.lake.files import is_folder, reference
from jobs.lake.lake import Lake, NoSuchDay
from model.search.indexes import VersionMismatch

MODELS, INDEXES = "models", "indexes"  # folders of the lake
ITEMS, EXPLORE = "items", "explore"  # parts of a day's index that are no backend of the main one


@dataclass(frozen=True)
class ModelReference:
    """A model version as workers get it: its name and folder, no weights."""

    version: str
    model: str


@dataclass(frozen=True)
class IndexReference:
    """A day's index as workers get it: folders. `items` holds what is known of the items behind the indices."""

    version: str
    index: str
    items: str
    explore: str | None


def model_row(lake: Lake, ds: dt.date) -> Row:
    """The day's row of model_versions. Raises NoSuchDay where there is none."""
    row = lake.day(tables.MODEL_VERSIONS, ds).first()
    if row is None:
        raise NoSuchDay(f"no model was trained for {ds} in {lake.table_path(tables.MODEL_VERSIONS)}")
    return row


def model_version(lake: Lake, ds: dt.date) -> str:
    """The version trained on a day. Raises NoSuchDay where there is none."""
    return str(model_row(lake, ds).model_version)


def model_path(lake: Lake, version: str) -> str:
    return lake.model_path(MODELS, version)


def index_path(lake: Lake, ds: dt.date, folder: str, part: str) -> str:
    """`part` is a backend's name, `items` for the items behind the indices, or `explore`.

    Its last name alone tells it from all others: that is what a folder has that is shipped to workers.
    """
    return lake.model_path(INDEXES, ds.isoformat(), index_folder(folder, part))


def index_folder(folder: str, part: str) -> str:
    return f"{folder}-{part}"


def model_reference(lake: Lake, ds: dt.date) -> ModelReference:
    """The day's model."""
    version = model_version(lake, ds)
    return ModelReference(version, reference(lake.spark, model_path(lake, version)))


def index_reference(lake: Lake, ds: dt.date, *, explore: bool = False) -> IndexReference:
    """The index that was chosen for the day; raises NoSuchDay where there is none, or none of what is explored."""
    version = model_version(lake, ds)
    chosen = lake.day(tables.ITEM_INDEXES, ds).where("is_chosen").first()
    if chosen is None:
        raise NoSuchDay(f"no index was built for {ds} in {lake.table_path(tables.ITEM_INDEXES)}")
    if chosen.model_version != version:
        raise VersionMismatch(f"the index of {ds} is that of model {chosen.model_version}, wanted {version}")
    parts = [chosen.backend, ITEMS, *([EXPLORE] if explore else [])]
    paths = [index_path(lake, ds, chosen.folder, part) for part in parts]
    if explore and not is_folder(lake.spark, paths[-1]):
        raise NoSuchDay(f"the index of {ds} was built without scoring.explore_quota: run build_item_index again")
    folders = [reference(lake.spark, path) for path in paths]
    return IndexReference(version, folders[0], folders[1], folders[2] if explore else None)


def batches_with_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)
