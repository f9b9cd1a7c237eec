"""An encoder that knows the order of the clicks, from the configuration to the embeddings of all users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jobs import build_user_embeddings, train_two_tower
from jobs.config.loading import load_config
from jobs.inference.embedding_inputs import users_to_embed
from jobs.inference.references import model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.artifacts.model_version import load_model
from model.features import columns
from model.features.tensors import tensors
from model.towers.attention import Attention
from tests.conftest import DAYS, SMALL

THIRD = DAYS[2]
ATTENTION = """
[model]
user_encoder = "attention"
user_encoder_dropout = 0.2
[training]
epochs = 1
embedding_weight_decay = 0.01
"""


def test_executors_embed_users_as_the_model_does_in_one_batch(simulated_copy: Lake, tmp_path: Path) -> None:
    lake, overlay = simulated_copy, tmp_path / "attention.toml"
    overlay.write_text(ATTENTION, "utf-8")
    arguments = ["--lake", lake.uri, "--config", SMALL, "--config", str(overlay), "--ds", str(THIRD)]
    train_two_tower.main(arguments)
    build_user_embeddings.main(arguments)

    version = model_version(lake, THIRD)
    towers, manifest = load_model(Path(model_path(lake, version)), version)
    assert isinstance(towers.user.embedding("history").get_submodule("encoder"), Attention)
    assert manifest.configuration["training"]["embedding_weight_decay"] == 0.01
    inputs = columns(towers.spec.user)
    rows = users_to_embed(lake, load_config(SMALL, str(overlay)), THIRD, inputs)
    users = rows.select("user_id", *inputs).orderBy("user_id").toArrow()
    with torch.no_grad():
        want = towers.user(tensors(users, towers.spec.user)).numpy()  # [U, D]
    stored = lake.day(tables.USER_EMBEDDINGS, THIRD).orderBy("user_id").select("user_id", "embedding").toArrow()
    assert stored["user_id"].to_pylist() == users["user_id"].to_pylist()
    found = np.stack(stored["embedding"].to_pylist())  # [U, D]
    assert len(found) == 400
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)
