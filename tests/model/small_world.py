"""A synthetic world that trains in a second: 4 clusters of users, each with its own 20 of 80 items.

Axes: U users, I item indices, D embedding size, K list length.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model.data.item_tables import ITEM_INDEX
from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers
from model.training.fit import make_learner
from model.training.inputs import TrainingInputs
from model.training.learner import Learner
from model.training.processes.ranks import ALONE, Ranks
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.training.step_loss import StepLoss
from model.vocabulary import FIRST_INDEX

USERS, ITEMS, CLUSTERS, CLICKS, HELD_OUT, D, K = 300, 80, 4, 12, 2, 16, 10
GONE = FIRST_INDEX + ITEMS  # an item in the vocabulary that is not in the snapshot
SIZE = GONE + 1
YOUNG = SIZE + 5  # an item that is newer than the model

SPEC = ModelSpec(
    user=(
        FeatureSpec("user_id", "id", D, 1, "user_index", "user_id"),
        FeatureSpec("history", "item_list", D, 3, "history", "item_id"),
        FeatureSpec("age", "numeric", 4, 1, "age", None),
    ),
    item=(
        FeatureSpec("item_id", "id", D, 1, "item_index", "item_id"),
        FeatureSpec("genres", "categorical", D, 2, "genres", "item.genres"),
        FeatureSpec("year", "numeric", 4, 1, "year", None),
    ),
    vocabulary_sizes={"user_id": FIRST_INDEX + USERS, "item_id": SIZE, "item.genres": FIRST_INDEX + CLUSTERS},
    embedding_dim=D,
    hidden=(),
)
SETTINGS: dict[str, Any] = {
    "temperature": 0.2,
    "batch_size": 128,
    "epochs": 6,
    "learning_rate": 0.1,
    "dense_learning_rate": 0.003,
    "embedding_weight_decay": 0.0,
    "weight_decay": 0.0,
    "seed": 1,
    "device": "cpu",
    "threads": 1,
    "readers": 1,
    "shuffle_row_groups": 4,
    "learn_temperature": False,
    "positive_temperature_ratio": 1.0,
    "frequency_source": "counted",
    "streaming_rate": 0.01,
    "streaming_buckets": 0,
    "streaming_hashes": 1,
    "example_weights": "none",
    "user_id_dropout": 0.2,
    "item_id_dropout": 0.2,
    "history_dropout": 0.0,
    "user_encoder_dropout": 0.0,
    "ranks": 1,
    "precision": "float32",
    "compile": False,
    "max_table_gb": 0.0,
    "checkpoint_steps": 0,
    "patience": 0,
    "validation_rows": 10_000,
    "min_held_back_share": 0.0,
    "min_held_back_rows": 0,
}

CPU = torch.device("cpu")
PARTS = {"data": DataSpec, "loss": LossSpec, "run": RunSpec}
PART_OF = {field.name: part for part, spec in PARTS.items() for field in fields(spec)}


class World:
    """Clicks on items of the user's cluster, more often on popular ones; two clicks of each user are held out."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        share = 1.0 / np.arange(3, 3 + ITEMS // CLUSTERS)
        items = [
            user % CLUSTERS
            + CLUSTERS * generator.choice(ITEMS // CLUSTERS, CLICKS, replace=False, p=share / share.sum())
            for user in range(USERS)
        ]
        clicks = generator.permuted(np.stack(items), axis=1) + FIRST_INDEX  # [U, CLICKS]
        self.trained, self.held_out = clicks[:, :-HELD_OUT], clicks[:, -HELD_OUT:]
        self.history = self.trained[:, :3]

    def examples(self) -> pa.Table:
        users, clicks = np.repeat(np.arange(USERS), CLICKS - HELD_OUT), self.trained.ravel()
        order = np.random.default_rng(1).permutation(len(users))
        users, clicks = users[order], clicks[order]
        return pa.table(
            {
                "user_index": pa.array(users + FIRST_INDEX, pa.int32()),
                "history": pa.array(self.history[users].tolist(), pa.list_(pa.int32())),
                "age": pa.array([None if user % 7 == 0 else 20.0 + user % 50 for user in users], pa.float32()),
                "item_index": pa.array(clicks, pa.int32()),
            }
        )

    def items(self) -> pa.Table:
        indices = np.arange(FIRST_INDEX, GONE)
        return pa.table(
            {
                "item_index": pa.array(indices, pa.int32()),
                "genres": pa.array([genres_of(index) for index in indices], pa.list_(pa.int32())),
                "year": pa.array(1980.0 + indices % 40, pa.float32()),
                "available": [True] * len(indices),
            }
        )

    def probabilities(self) -> pa.Table:
        indices, clicks = np.unique(self.trained, return_counts=True)
        uniform, empty = np.full(len(indices), 1 / len(indices)), np.zeros(len(indices))
        q = clicks / clicks.sum()
        return pa.table({"item_index": pa.array(indices, pa.int32()), "q": q, "u": uniform, "p": empty})


def genres_of(index: int) -> list[int]:
    return [FIRST_INDEX + (index - FIRST_INDEX) % CLUSTERS, 0]


def changed(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of a training spec in JSON, with the named fields replaced in the part that has them."""
    copy = {part: dict(values[part]) for part in ("data", "loss", "run")}
    for name, value in changes.items():
        copy[PART_OF[name]][name] = value
    return copy


def training_spec(
    values: dict[str, Any], folder: str = "model", correction: str = "logq", **changes: Any
) -> TrainingSpec:
    """The spec, read back from JSON, with another folder and other fields."""
    there = str(Path(values["run"]["folder"]).with_name(folder))
    negatives = values["loss"]["negatives"] | {"correction": correction}
    made = changed(values, **({"folder": there, "negatives": negatives} | changes))
    return TrainingSpec.from_json(json.loads(json.dumps(made)))


def learner_of(spec: TrainingSpec, device: torch.device = CPU, ranks: Ranks = ALONE) -> Learner:
    """The learner of a spec. The test makes the batches itself, because the files have only the columns of World."""
    inputs = TrainingInputs(spec.data, spec.run.model, [ITEM_INDEX], seed=spec.run.seed, device=device, ranks=ranks)
    return make_learner(spec, inputs, ranks)


def loss_of(spec: TrainingSpec, towers: TwoTowers) -> StepLoss:
    """The loss of a batch for these towers."""
    loss = learner_of(spec).step_loss
    loss.towers = towers
    return loss


def vectors(towers: TwoTowers, world: World) -> tuple[torch.Tensor, torch.Tensor]:
    """All users [U, D] and the items of the snapshot [I, D]."""
    users = {
        "user_id": torch.arange(FIRST_INDEX, FIRST_INDEX + USERS),
        "history": torch.from_numpy(world.history),
        "age": torch.full((USERS,), math.nan),
    }
    indices = torch.arange(FIRST_INDEX, GONE)
    genres = torch.tensor([genres_of(int(index)) for index in indices])
    items = {"item_id": indices, "genres": genres, "year": torch.full((ITEMS,), math.nan)}
    with torch.no_grad():
        return towers.user(users), towers.item(items)


def recall(scores: torch.Tensor, world: World) -> float:
    """Share of the held-out clicks among each user's K best items that were not trained on; scores [U, I]."""
    scores = scores.clone().scatter(1, torch.from_numpy(world.trained - FIRST_INDEX), -torch.inf)
    best = scores.topk(K, dim=1).indices + FIRST_INDEX  # [U, K]
    return float((best[:, :, None] == torch.from_numpy(world.held_out)[:, None, :]).any(dim=1).float().mean())


def recall_of_popularity(world: World) -> float:
    clicks = torch.bincount(torch.from_numpy(world.trained.ravel() - FIRST_INDEX), minlength=ITEMS)  # [I]
    return recall(clicks.float().expand(USERS, -1), world)
