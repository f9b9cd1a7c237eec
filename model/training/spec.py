"""What to train: the job writes a `TrainingSpec` as JSON, and the trainer reads it.

It has three parts, and each part of the trainer gets only those that it needs: `data` says what is read, `loss` what is
minimised, and `run` which model is trained, for how long, and where it is written. This module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.data.pinned_files import PinnedFiles
from model.features import ModelSpec
from model.negatives.settings import Negatives

MAX_HELD_BACK_SHARE = 1 / 3  # of the users, on a day with few rows
MIN_LEARNED_TEMPERATURE = 0.01  # as in CLIP (Radford et al. 2021, section 2.5)
Stats = Mapping[str, Mapping[str, tuple[list[float], list[float]]]]  # side -> feature -> (means, standard deviations)


@dataclass(frozen=True)
class DataSpec:
    """What is read, in which batches, and how the held-out day is measured."""

    examples: PinnedFiles  # read in every epoch
    last_day: PinnedFiles | None  # the held-out day: validates each epoch, and is trained on in one pass at the end
    items: PinnedFiles  # the item snapshot
    probabilities: PinnedFiles  # the sampling probabilities of the items
    numeric_stats: Stats  # standardise the numeric features
    unclicked_length: int  # of the examples' lists of unclicked items
    batch_size: int  # rows of one step, of all ranks together
    readers: int  # reader threads
    shuffle_row_groups: int  # row groups whose rows are mixed
    validation_rows: int  # the most examples of the held-out day that are measured
    hide_history: bool  # whether items of a user's history are left out when the held-out day is measured
    min_held_back_share: float  # of the users, on whom the model is measured after the pass over the held-out day
    min_held_back_rows: int  # expected rows of these users; on a day with few rows, more users are held back
    item_changes: PinnedFiles | None = None  # the features of items before they changed in the window; None: none did
    epoch_day: int = 0  # the last day of the window, as days since 1970-01-01; each day holds back other users
    min_id_examples: int = 0  # from which an id has an embedding of its own; 0: every index of a vocabulary has one
    first_recent_day: int = 0  # an id that is in no example since then has none; days since 1970-01-01, 0: any
    candidates_per_user: int = 0  # of the lists on which scores are calibrated; 0: they are not
    popular_quota: int = 0  # in these lists
    explore_quota: int = 0
    verified_share: float = 1.0  # of the files, whose pages are verified before the first step; 0: footers only
    neighbour_quota: int = 0
    item_neighbours: PinnedFiles | None = None  # for these lists, of the day before the held-out one; None: none
    neighbour_clicks: int = 0  # last clicks of a user that are asked for neighbours
    neighbour_decay: float = 1.0  # the weight of such a click relative to the next
    held_out_cutoffs: tuple[int, int] = (10, 100)  # list lengths of the recall on the held-out day, the shorter first

    @property
    def held_back_share(self) -> float:
        """The share of the users whose rows the pass over the held-out day leaves out; 0 if no user is held back.

        It is `min_held_back_share`, or as much as `min_held_back_rows` require, but not above MAX_HELD_BACK_SHARE for
        their sake.
        """
        if self.last_day is None or not self.min_held_back_share:
            return 0.0
        wanted = min(self.min_held_back_rows / self.last_day.rows, MAX_HELD_BACK_SHARE)
        return max(self.min_held_back_share, wanted)

    @property
    def share_column(self) -> str:
        """The column of item_sampling_probs with each item's share of `examples`."""
        return "q" if self.last_day is None else "q_before"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataSpec:
        tables = ("examples", "last_day", "items", "item_changes", "probabilities", "item_neighbours")
        pinned = {name: PinnedFiles.from_json(values[name]) if values.get(name) else None for name in tables}
        cutoffs = {name: tuple(values[name]) for name in ("held_out_cutoffs",) if name in values}
        return cls(**{**values, **pinned, **cutoffs})


@dataclass(frozen=True)
class LossSpec:
    """What is minimised: the loss of a step, its negatives, and the random dropout of its inputs."""

    temperature: float
    learn_temperature: bool
    positive_temperature_ratio: float  # temperature of the positives / temperature of the negatives
    negatives: Negatives
    frequency_source: str  # counted | streaming: where q of the in-batch columns comes from
    streaming_rate: float
    streaming_buckets: int  # 0: one per item
    streaming_hashes: int
    example_weights: str  # none | reward
    final_before: int  # UTC seconds: unclicked items are negatives if the example's outcome was final before this time
    user_id_dropout: float
    item_id_dropout: float
    history_dropout: float
    user_encoder_dropout: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LossSpec:
        return cls(**{**values, "negatives": Negatives.from_json(values["negatives"])})


@dataclass(frozen=True)
class RunSpec:
    """Which model is trained, for how long, on which hardware, and where it is written."""

    model_version: str
    model: ModelSpec
    epochs: int
    learning_rate: float  # of the embedding tables
    embedding_weight_decay: float  # of their rows, in the steps in which they have a gradient
    dense_learning_rate: float
    weight_decay: float
    seed: int
    device: str  # auto | cpu | cuda
    threads: int  # 0: as many as torch chooses
    ranks: int  # processes that train together
    precision: str  # float32 | bfloat16
    compile: bool
    max_table_gb: float  # GB that the embedding tables may take, with the optimiser's sums; 0: what is free
    checkpoint_steps: int  # steps between checkpoints; 0: none are written
    patience: int  # training stops after so many epochs without a better validation; 0: never
    warm_start: Path | None  # the folder of the model version to continue from
    inputs: Mapping[str, Any]  # recorded in the model's manifest, as is `configuration`
    configuration: Mapping[str, Any]
    folder: Path = Path("model")  # of the trained model
    checkpoints: Path = Path("checkpoints")
    checkpoint_store: str | None = None  # URL of a folder in a store that gets copies of the checkpoints
    model_store: str | None = None  # URL of a folder in a store that gets a copy of the trained model's folder

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        paths = {name: Path(values[name]) for name in ("folder", "checkpoints") if name in values}
        older = Path(values["warm_start"]) if values["warm_start"] else None
        return cls(**{**values, **paths, "warm_start": older, "model": ModelSpec.from_json(values["model"])})


@dataclass(frozen=True)
class TrainingSpec:
    """All inputs of one training run."""

    data: DataSpec
    loss: LossSpec
    run: RunSpec

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSpec:
        return cls(
            DataSpec.from_json(values["data"]), LossSpec.from_json(values["loss"]), RunSpec.from_json(values["run"])
        )

    def to_json(self) -> dict[str, Any]:
        """Values that `json.dumps` accepts."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return values

    def in_folders(
        self, folder: Path, checkpoints: Path, checkpoint_store: str | None = None, model_store: str | None = None
    ) -> TrainingSpec:
        """The same training, written to other folders; for the arguments see `RunSpec`."""
        run = replace(
            self.run,
            folder=folder,
            checkpoints=checkpoints,
            checkpoint_store=checkpoint_store,
            model_store=model_store,
        )
        return replace(self, run=run)

    @property
    def identity(self) -> str:
        """A hash of the whole spec except the folders that are written."""
        values = self.in_folders(Path(), Path()).to_json()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
