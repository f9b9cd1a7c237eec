"""References to a day's model and indexes that the driver sends to workers, and the folders that they name there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark import SparkFiles

from model.search.lists.calibration import Calibration

Batches = Iterable[pa.RecordBatch]
SHIPPED = "shipped:"  # prefix of a reference to a folder that Spark copies to the workers


@dataclass(frozen=True)
class ModelReference:
    """A model version: its name and folder."""

    version: str
    model: str


@dataclass(frozen=True)
class IndexReference:
    """A day's chosen index: model version, backend, and folders. items: that of `jobs.inference.item_details`.

    calibration: of the model, so that all workers make the same scores.
    """

    version: str
    backend: str
    index: str
    items: str
    explore: str | None
    calibration: Calibration
    neighbours: str | None = None


def local_folder(reference: str) -> Path:
    """The folder of a reference (`jobs.lake.files.folder_reference`), on the machine that calls this."""
    return Path(SparkFiles.get(reference.removeprefix(SHIPPED)) if reference.startswith(SHIPPED) else reference)


def batches_with_rows(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The batches that have rows: Spark may also pass empty ones to a function of mapInArrow."""
    return (batch for batch in batches if batch.num_rows)
