"""Towers of a few weights, and their versions."""

from __future__ import annotations

from pathlib import Path

import torch

from model.artifacts.model_version import ModelVersion, load_model
from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers

USER = FeatureSpec("user_id", "id", 4, 1, "user_index", "user_id")
AGE = FeatureSpec("age", "numeric", 2, 1, "age", None)
ITEM = FeatureSpec("item_id", "id", 4, 1, "item_index", "item_id")
SPEC = ModelSpec((USER, AGE), (ITEM,), {"user_id": 9, "item_id": 7}, 4, (5,))


def version(name: str) -> ModelVersion:
    return ModelVersion(name, SPEC, {"ds": "2026-03-01", "versions": {"a": 3}}, {"model": {"dim": 4}}, {"loss": 0.1})


def towers(seed: int = 0) -> TwoTowers:
    torch.manual_seed(seed)
    model = TwoTowers(SPEC)
    model.user.embedding("age").get_buffer("mean").fill_(31.7)
    return model


def is_whole(folder: Path, name: str, seed: int) -> bool:
    """Whether the folder loads as this version with the weights of that seed, bit for bit."""
    model, loaded = load_model(folder, name)
    got, want = model.state_dict(), towers(seed).state_dict()
    return (
        loaded == version(name) and got.keys() == want.keys() and all(torch.equal(got[key], want[key]) for key in want)
    )
