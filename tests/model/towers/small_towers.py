"""Towers with a feature of most kinds, and the inputs of two users."""

from __future__ import annotations

import torch
from torch import Tensor

from model.features import FeatureSpec, ModelSpec
from model.towers.embeddings import FeatureEmbedding, feature_embedding
from model.towers.two_towers import TwoTowers

D, USERS, ITEMS = 6, 9, 8
USER = FeatureSpec("user_id", "id", D, 1, "user_index", "user_id")
HISTORY = FeatureSpec("history", "item_list", D, 3, "history", "item_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
ITEM = FeatureSpec("item_id", "id", D, 1, "item_index", "item_id")
IMAGE = FeatureSpec("image", "vector", 3, 2, "image", None)
SIZES = {"user_id": USERS, "item_id": ITEMS}
SPEC = ModelSpec((USER, HISTORY, AGE), (ITEM, IMAGE), SIZES, D, ())


def towers(hidden: tuple[int, ...] = ()) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(ModelSpec(SPEC.user, SPEC.item, SIZES, D, hidden))


def users(**changes: Tensor) -> dict[str, Tensor]:
    """Two users."""
    inputs = {
        "user_id": torch.tensor([2, 3]),
        "history": torch.tensor([[2, 3, 4], [5, 0, 0]]),
        "age": torch.tensor([30.0, 50.0]),
    }
    return inputs | changes


def embedding(feature: FeatureSpec) -> FeatureEmbedding:
    torch.manual_seed(0)
    return feature_embedding(feature, SIZES[feature.vocabulary] if feature.vocabulary else None)
