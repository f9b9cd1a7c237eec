"""References to a day's model and indexes: what the driver sends to workers."""

from __future__ import annotations

from dataclasses import dataclass

from model.search.lists.calibration import Calibration


@dataclass(frozen=True)
class ModelReference:
    """A model version: its name and folder."""

    version: str
    model: str


@dataclass(frozen=True)
class IndexReference:
    """A day's chosen index: model version, backend, and folders. items: that of `jobs.workers.item_details`.

    calibration: of the model, so that all workers make the same scores.
    """

    version: str
    backend: str
    index: str
    items: str
    explore: str | None
    calibration: Calibration
    neighbours: str | None = None
