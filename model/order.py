"""What a trainer is told to do: found in the lake by the job, handed over as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.features import FeatureSpec, ModelSpec
from model.loaders import ITEM_INDEX, PinnedFiles
from model.sources import Negatives

PROBABILITIES = ("q", "u", "p")  # columns of item_sampling_probs, in the order of `model.sources.Probabilities`


@dataclass(frozen=True)
class Settings:
    """The [training] section, its choice of negatives aside, and the dropouts of [model]."""

    temperature: float
    learn_temperature: bool
    frequency: str  # counted | streaming
    estimator_rate: float
    estimator_buckets: int  # 0: one an item
    estimator_hashes: int
    weights: str  # none | reward
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


@dataclass(frozen=True)
class Order:
    """What to train, on what, and where to put it."""

    model_version: str
    folder: Path
    spec: ModelSpec
    settings: Settings
    negatives: Negatives
    examples: PinnedFiles
    items: PinnedFiles
    probabilities: PinnedFiles
    numeric_stats: Mapping[str, Mapping[str, tuple[list[float], list[float]]]]  # side, feature: means and deviations
    unclicked_length: int  # of the examples' lists of unclicked items
    final_before: int  # UTC seconds: an example's unclicked items count if its outcome was final before then
    inputs: Mapping[str, Any]
    configuration: Mapping[str, Any]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Order:
        pinned = {name: PinnedFiles.from_json(values[name]) for name in ("examples", "items", "probabilities")}
        typed = {
            "folder": Path(values["folder"]),
            "spec": ModelSpec.from_json(values["spec"]),
            "settings": Settings(**values["settings"]),
            "negatives": Negatives(**values["negatives"]),
        }
        return cls(**{**values, **pinned, **typed})


def example_features(order: Order) -> list[FeatureSpec]:
    """What is read of the examples: the user's features, the item, and what the loss asks for beside them."""
    features = [*order.spec.user, ITEM_INDEX]
    if order.settings.weights == "reward":
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
    return {
        "training_examples": (order.examples, examples),
        "item_snapshot": (order.items, [ITEM_INDEX.column, *items]),
        "item_sampling_probs": (order.probabilities, [ITEM_INDEX.column, *PROBABILITIES]),
    }
