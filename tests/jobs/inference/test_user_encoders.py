"""Executors embed users with each encoder as the saved model does in one batch. Axes: U users, L length, D size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import SparkSession

from jobs.config.loading import load_config
from jobs.inference.embedding import user_embeddings
from jobs.training.settings import spec_settings
from jobs.workers.references import ModelReference
from model.artifacts.model_version import ModelVersion, load_model, save_model
from model.features import Feature, FeatureSpec, ModelSpec
from model.features.gaps import GAP_INDICES
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.vocabulary import FIRST_INDEX, PADDING, UNKNOWN

USERS, ITEMS, L, D = 300, 50, 12, 16
SPEC = ModelSpec(
    user=(
        FeatureSpec("user_id", "id", D, 1, "user_index", "user_id"),
        FeatureSpec("history", "item_list", D, L, "history", "item_id"),
    ),
    item=(FeatureSpec("item_id", "id", D, 1, "item_index", "item_id"),),
    vocabulary_sizes={"user_id": FIRST_INDEX + USERS, "item_id": FIRST_INDEX + ITEMS},
    embedding_dim=D,
    hidden=(),
    share_item_table=True,
)


def histories() -> np.ndarray:
    """[U, L] with 0 to L items."""
    random = np.random.default_rng(0)
    items = random.integers(FIRST_INDEX, FIRST_INDEX + ITEMS, (USERS, L))
    return np.where(np.arange(L) < random.integers(0, L + 1, (USERS, 1)), items, PADDING)


def spec_of(encoder: str, interests: int, *, gaps: bool) -> ModelSpec:
    user_id, history = SPEC.user
    user = (user_id, *FeatureSpec.all_declared([Feature("history", "item_list", D, L, gaps=gaps)], "user"))
    assert user[1] == replace(history, gaps=gaps)
    return replace(SPEC, user=user, user_encoder=encoder, interests=interests)


def saved(spec: ModelSpec, folder: Path) -> ModelReference:
    """A model whose weights are random, also those that are zero before training."""
    torch.manual_seed(0)
    towers = TwoTowers(spec)
    with torch.no_grad():
        for weights in towers.dense():
            weights.add_(0.3 * torch.randn(weights.shape))
    save_model(folder, towers, ModelVersion("v1", towers.spec, {}, {}, {}))
    return ModelReference("v1", str(folder))


@pytest.mark.parametrize(
    ("encoder", "interests", "gaps"),
    [("mean", 1, False), ("recency", 1, True), ("attention", 1, False), ("attention", 3, True)],
)
def test_executors_embed_users_as_the_model_does_in_one_batch(
    spark: SparkSession, tmp_path: Path, encoder: str, interests: int, gaps: bool
) -> None:
    ref, lists = saved(spec_of(encoder, interests, gaps=gaps), tmp_path / "model"), histories()
    times = np.where(lists == PADDING, PADDING, np.random.default_rng(1).integers(UNKNOWN, GAP_INDICES, lists.shape))
    rows = [(f"{n:03}", n + FIRST_INDEX, lists[n].tolist(), times[n].tolist(), False, 0, n) for n in range(USERS)]
    schema = """user_id string, user_index int, history array<int>, history_gaps array<int>, is_cold boolean, segment int,
        scored_from long"""
    users = spark.createDataFrame(rows, schema).repartition(3)  # type: ignore[type-var]
    found = user_embeddings(users, ref).orderBy("user_id").toArrow()
    towers, _ = load_model(tmp_path / "model")
    with torch.no_grad():
        indices = torch.arange(USERS) + FIRST_INDEX
        values = {"user_id": indices, "history": torch.from_numpy(lists), "history_gaps": torch.from_numpy(times)}
        want = towers.user(values).numpy()  # [U, D] or [U, 3, D]
    assert found["user_id"].to_pylist() == [row[0] for row in rows]
    assert want.shape == ((USERS, D) if interests == 1 else (USERS, interests, D))
    embedded = np.stack(found["embedding"].to_pylist())  # [U, Q D]
    np.testing.assert_allclose(embedded, want.reshape(USERS, -1), rtol=0, atol=1e-6)


def test_every_built_in_encoder_is_compared() -> None:
    assert set(USER_ENCODERS.built_in) == {"mean", "recency", "attention"}


def test_the_trainer_is_given_what_the_configuration_says(tmp_path: Path) -> None:
    overlay = tmp_path / "own.toml"
    overlay.write_text(
        '[model]\nuser_encoder = "attention"\nuser_encoder_dropout = 0.2\n[training]\nembedding_weight_decay = 0.01\n',
        "utf-8",
    )
    settings = spec_settings(load_config(overlay), pool_is_empty=True)
    assert settings["loss"]["user_encoder_dropout"] == 0.2
    assert settings["run"]["embedding_weight_decay"] == 0.01
