"""A prepared folder: one training and the users whose lists are then evaluated, without Spark.

`training_spec.json` is the spec that `jobs.train_two_tower` would write. `relevant.parquet` has a row per user:
the features, the `excluded` items, the items found `relevant` afterwards, and, of a simulated log, the `oracle` list.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from jobs.config.loading import merge
from model.data.parquet_files import read_files
from model.training.spec import TrainingSpec

FIRST_DAY = dt.date(2026, 1, 1)  # of the lakes from which folders are prepared
SPEC_FILE, USERS_FILE = "training_spec.json", "relevant.parquet"


def is_prepared(folder: Path) -> bool:
    return all((folder / name).exists() for name in (SPEC_FILE, USERS_FILE))


def write_spec(folder: Path, spec: TrainingSpec) -> None:
    (folder / SPEC_FILE).write_text(json.dumps(spec.to_json()), "utf-8")


def read_spec(folder: Path, overrides: dict[str, Any] | None = None) -> TrainingSpec:
    """The folder's training spec; overrides: fields to replace, by part (`data`, `loss`, `run`)."""
    values = json.loads((folder / SPEC_FILE).read_text("utf-8"))
    return TrainingSpec.from_json(merge(values, overrides or {}))


def has_pool(folder: Path) -> bool:
    """Whether the folder's probabilities have a pool of unclicked items."""
    return bool(read_files(read_spec(folder).data.probabilities.files)["p"].to_numpy().any())
