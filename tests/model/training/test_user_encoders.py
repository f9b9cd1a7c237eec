"""Training with each user encoder: what is validated and saved is without dropout, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.model_version import load_model
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.loop import Progress
from tests.model.small_world import SPEC, World, recall, recall_of_popularity, training_spec, vectors


@pytest.mark.parametrize("encoder", ["recency", "attention"])
def test_the_saved_model_embeds_users_as_the_trained_one_did(
    values: dict[str, Any], world: World, encoder: str
) -> None:
    of_epochs: list[torch.Tensor] = []

    def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
        of_epochs.append(vectors(towers, world)[0])

    model = {**SPEC.to_json(), "user_encoder": encoder}
    fit(training_spec(values, model=model, user_encoder_dropout=0.3), on_epoch_end=on_epoch_end)
    saved, _ = load_model(Path(values["run"]["folder"]))
    users, items = vectors(saved, world)
    torch.testing.assert_close(users, of_epochs[-1], rtol=0.0, atol=1e-6)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3
    assert not torch.equal(of_epochs[0], of_epochs[-1])


def test_weight_decay_makes_the_rows_of_the_tables_shorter(values: dict[str, Any], world: World) -> None:
    def norm(decay: float) -> float:
        fit(training_spec(values, f"decay {decay}", embedding_weight_decay=decay))
        towers, _ = load_model(Path(values["run"]["folder"]).with_name(f"decay {decay}"))
        return float(towers.item.embedding("item_id").get_parameter("table.weight").detach().norm(dim=1).mean())

    assert norm(0.2) < 0.8 * norm(0.0)
