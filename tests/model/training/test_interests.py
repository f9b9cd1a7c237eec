"""Training with several interests a user: it learns, validates by the best one, and resumes a model of as many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.model_version import load_model
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.loop import Progress
from model.training.warm_start import start_from
from tests.model.small_world import SPEC, World, learner_of, recall, recall_of_popularity, training_spec, vectors

SEVERAL = {**SPEC.to_json(), "user_encoder": "attention", "interests": 3}


def test_the_saved_model_has_the_interests_of_the_trained_one(values: dict[str, Any], world: World) -> None:
    of_epochs: list[torch.Tensor] = []

    def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
        of_epochs.append(vectors(towers, world)[0])

    fit(training_spec(values, model=SEVERAL, user_encoder_dropout=0.3), on_epoch_end=on_epoch_end)
    saved, _ = load_model(Path(values["run"]["folder"]))
    users, items = vectors(saved, world)  # [U, 3, D], [I, D]
    torch.testing.assert_close(users, of_epochs[-1], rtol=0.0, atol=1e-6)
    assert recall((users @ items.T).amax(dim=1), world) > recall_of_popularity(world) + 0.3
    assert len((users @ items.T).amax(dim=2).argmax(dim=1).unique()) > 1  # not one interest has all the best items


def test_scores_are_fitted_and_ranks_measured_on_lists_of_all_interests(everything: dict[str, Any]) -> None:
    made = fit(training_spec(everything, model=SEVERAL, epochs=1))
    assert made.spec.interests == 3
    assert made.metrics["validation"]["recall@10"] > 0.2
    assert made.metrics["calibration"] is not None
    assert made.metrics["last_pass"]["rows"] > 0


def test_a_warm_start_continues_a_model_of_as_many_interests_only(values: dict[str, Any]) -> None:
    fit(training_spec(values, "older", model=SEVERAL, epochs=1))
    older = Path(values["run"]["folder"]).with_name("older")
    learner = learner_of(training_spec(values, model=SEVERAL))
    start_from(older, learner.towers, learner.tables)
    trained, _ = load_model(older)
    for name, weights in learner.towers.named_parameters():
        assert torch.equal(weights, trained.get_parameter(name)), name
    with pytest.raises(ValueError, match=r"another number of interests \(3, not 2\): train from scratch"):
        fit(training_spec(values, "newer", model={**SEVERAL, "interests": 2}, warm_start=str(older)))
    assert not older.with_name("newer").exists()


def test_interests_that_the_encoder_cannot_make_are_refused_before_anything_is_written(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must make several vectors where model\.interests is 3, .* got 'mean'"):
        fit(training_spec(values, model={**SEVERAL, "user_encoder": "mean"}))
    assert not Path(values["run"]["folder"]).exists()
