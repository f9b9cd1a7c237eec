"""What a trainer is told to do: found in the lake by the job, handed over as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.loaders import ITEM_INDEX, PinnedFiles
from model.features import FeatureSpec, ModelSpec
from model.negatives.settings import Negatives

EXAMPLES, LAST_DAY = "training_examples", "training_examples of the last day"  # as errors name them
LAST_DAY_SHARE = "q_last"  # the column of item_sampling_probs that counts the last day's rows
AVAILABLE = "available"  # the column of item_snapshot


@dataclass(frozen=True)
class Settings:
    """The [training] section, its choice of negatives aside, and the dropouts of [model]."""

    temperature: float
    learn_temperature: bool
    frequency_source: str  # counted | streaming
    streaming_rate: float
    streaming_buckets: int  # 0: one an item
    streaming_hashes: int
    example_weights: str  # none | reward
    batch_size: int
    epochs: int
    learning_rate: float
    dense_learning_rate: float
    weight_decay: float
    seed: int
    device: str
    threads: int
    readers: int
    shuffle_row_groups: int
    user_id_dropout: float
    item_id_dropout: float
    history_dropout: float
    ranks: int
    precision: str  # float32 | bfloat16
    compile: bool
    checkpoint_steps: int  # 0: none
    patience: int  # epochs without a better validation; 0 runs all of them
    validation_rows: int


@dataclass(frozen=True)
class Order:
    """What to train, on what, and where to put it."""

    model_version: str
    folder: Path
    checkpoints: Path
    spec: ModelSpec
    settings: Settings
    negatives: Negatives
    examples: PinnedFiles  # what the epochs go over
    last_day: PinnedFiles | None  # held out from them, and learnt from in one pass at the end
    items: PinnedFiles
    probabilities: PinnedFiles
    numeric_stats: Mapping[str, Mapping[str, tuple[list[float], list[float]]]]  # side, feature: means and deviations
    hide_history: bool  # what is in a user's history is not shown to them again
    warm_start: Path | None  # the folder of the model version to go on from
    unclicked_length: int  # of the examples' lists of unclicked items
    final_before: int  # UTC seconds: an example's unclicked items count if its outcome was final before then
    inputs: Mapping[str, Any]
    configuration: Mapping[str, Any]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Order:
        tables = ("examples", "last_day", "items", "probabilities")
        pinned = {name: PinnedFiles.from_json(values[name]) if values[name] else None for name in tables}
        typed = {
            "folder": Path(values["folder"]),
            "checkpoints": Path(values["checkpoints"]),
            "warm_start": Path(values["warm_start"]) if values["warm_start"] else None,
            "spec": ModelSpec.from_json(values["spec"]),
            "settings": Settings(**values["settings"]),
            "negatives": Negatives.from_json(values["negatives"]),
        }
        return cls(**{**values, **pinned, **typed})

    @property
    def share(self) -> str:
        """The column of item_sampling_probs that counts the rows which the epochs go over."""
        return "q" if self.last_day is None else "q_before"

    @property
    def identity(self) -> str:
        """Of what is trained, wherever it lies."""
        facts = {**vars(self), "folder": None, "checkpoints": None}
        return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()


def example_features(order: Order) -> list[FeatureSpec]:
    """What is read of the examples: the user's features, the item, and what the loss asks for beside them."""
    features = [*order.spec.user, ITEM_INDEX]
    if order.settings.example_weights == "reward":
        features.append(FeatureSpec("weight", "numeric", 1, 1, "weight", None))
    if order.negatives.mask != "item":
        features.append(FeatureSpec("user_index", "id", 1, 1, "user_index", "user_id"))
    if order.negatives.row:
        length = order.unclicked_length
        features.append(FeatureSpec("unclicked", "item_list", 1, length, "unclicked", "item_id"))
        features.append(FeatureSpec("outcome_final_at", "id", 1, 1, "outcome_final_at", None))
    return features


def pinned_inputs(order: Order) -> dict[str, tuple[PinnedFiles, list[str]]]:
    """What the trainer reads: the files of each table, and the columns that it asks for."""
    examples = [feature.column for feature in example_features(order)]
    items = [feature.column for feature in order.spec.item if feature.kind != "id"]
    shares = [order.share] if order.last_day is None else [order.share, LAST_DAY_SHARE]
    inputs = {
        EXAMPLES: (order.examples, examples),
        "item_snapshot": (order.items, [ITEM_INDEX.column, AVAILABLE, *items]),
        "item_sampling_probs": (order.probabilities, [ITEM_INDEX.column, *shares, "u", "p"]),
    }
    return inputs if order.last_day is None else {**inputs, LAST_DAY: (order.last_day, examples)}
