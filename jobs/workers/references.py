"""References to a day's model and indexes: what the driver sends to workers.

Their folders are references for `jobs.workers.folders.local_folder`.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.search.lists.calibration import Calibration


@dataclass(frozen=True)
class ModelReference:
    """A model version: its name and folder."""

    version: str
    model_folder: str


@dataclass(frozen=True)
class IndexReference:
    """A day's chosen index: model version, backend, and folders.

    items_folder: of the items' details (`jobs.workers.item_details`). explore_folder: None if there is nothing to
    explore. neighbours_folder: None if lists have no neighbours. calibration: of the model, so that all workers make
    the same scores.
    """

    version: str
    backend: str
    index_folder: str
    items_folder: str
    explore_folder: str | None
    calibration: Calibration
    neighbours_folder: str | None = None
