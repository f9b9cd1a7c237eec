"""Online models of random weights, written without a lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from model.features import FeatureSpec
from model.towers import TwoTowers
from model.towers.online.folder import write_online_model
from model.towers.online.ids import SortedIds, Vocabulary
from model.towers.online.program import exported_user_tower
from model.vocabulary import FIRST_INDEX
from tests.model.towers.small_towers import ITEMS, SPEC, USERS, D

TASTE = FeatureSpec("taste", "vector", 2, 2, "taste", None)
PUBLICATION = {
    "publication": 1, "ds": "2026-03-01", "model_version": "m", "candidates_version": 0, "forgotten_users": 0
}  # fmt: skip


def small_towers(encoder: str = "mean", interests: int = 1, *, hashed: bool = False, gaps: bool = False) -> TwoTowers:
    torch.manual_seed(0)
    user_id, *others = SPEC.user
    if gaps:
        others[:1] = [replace(others[0], gaps=True), FeatureSpec("history_gaps", "click_gaps", 0, 3, "history_gaps")]
    user_id = replace(user_id, kind="hashed_id", buckets=5, hashes=2) if hashed else user_id
    spec = replace(SPEC, user=(user_id, *others, TASTE), user_encoder=encoder, interests=interests)
    return with_noise(TwoTowers(spec)).eval()


def with_noise(towers: TwoTowers) -> TwoTowers:
    """Weights as after training: untrained attention weighs all clicks alike."""
    with torch.no_grad():
        for weights in towers.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return towers


def vocabulary(name: str, size: int) -> Vocabulary:
    ids = [f"{name}{number}" for number in range(size - FIRST_INDEX)]
    return Vocabulary(SortedIds(pa.array(ids, pa.large_string())), np.arange(FIRST_INDEX, size))


def write_small(
    folder: Path, towers: TwoTowers | None = None, vocabularies: Mapping[str, Vocabulary] | None = None
) -> Path:
    """An online model with users u0, u1 ... and items i0, i1 ..., the first four of which may be shown."""
    towers = towers or small_towers()
    vocabularies = vocabularies or {"user_id": vocabulary("u", USERS), "item_id": vocabulary("i", ITEMS)}
    items = SortedIds(pa.array(["i0", "i1", "i2", "i3"], pa.large_string()))
    vectors = np.eye(4, D, dtype=np.float32)
    program = exported_user_tower(towers)
    write_online_model(folder, program, towers.spec, PUBLICATION, "history", vocabularies, items, vectors)
    return folder
