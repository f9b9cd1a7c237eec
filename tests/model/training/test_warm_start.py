"""A warm start copies the weights and the optimiser's state, and initialises the rows of new values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.model_version import ROW_SUMS, ModelCorrupt, load_model, load_row_sums
from model.training.fit import fit
from model.training.spec import TrainingSpec
from model.training.warm_start import require_same_shape, start_from
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import (
    SPEC,
    World,
    changed,
    learner_of,
    recall,
    recall_of_popularity,
    training_spec,
    vectors,
)


def grown(values: dict[str, Any], older: Path) -> dict[str, Any]:
    """The spec of the next day: five more users, and a warm start from the older model without epochs."""
    sizes = {**SPEC.vocabulary_sizes, "user_id": SPEC.vocabulary_sizes["user_id"] + 5}
    spec = replace(SPEC, vocabulary_sizes=sizes).to_json()
    return changed(values, model=spec, warm_start=str(older), epochs=0)


def test_weights_and_optimiser_state_are_copied_and_new_rows_are_initialised(
    values: dict[str, Any], world: World
) -> None:
    fit(training_spec(values, "older"))
    older = Path(values["run"]["folder"]).with_name("older")
    learner = learner_of(TrainingSpec.from_json(grown(values, older)))
    fresh = learner.towers.user.embedding("user_id").get_parameter("table.weight")[-5:].clone()
    start_from(older, learner.towers, learner.tables)
    trained, _ = load_model(older)
    before, sums = dict(trained.named_parameters()), load_row_sums(older)
    for name, weights in learner.towers.named_parameters():
        assert torch.equal(weights[: len(before[name])], before[name]), name
    table = learner.towers.user.embedding("user_id").get_parameter("table.weight")
    assert torch.equal(table[-5:], fresh)
    state = learner.tables.state[table]["sum"]
    assert torch.equal(state[:-5], sums["user.embeddings.of_user_id.table.weight"])
    assert state[:-5].sum() > 0
    assert state[-5:].tolist() == [0.0] * 5
    users, items = vectors(learner.towers, world)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3


def test_training_on_one_more_day_keeps_what_was_learnt(values: dict[str, Any], world: World) -> None:
    """One pass over the held-out rows, which were validated before they were trained on."""
    fit(training_spec(values, "older"))
    older = Path(values["run"]["folder"]).with_name("older")
    later = changed(grown(values, older), last_day=values["data"]["examples"])
    table = world.probabilities()
    for name in ("q_before", "q_last"):
        table = table.append_column(name, table["q"])
    import pyarrow.parquet as pq

    pq.write_table(table, older.with_name("probabilities.parquet"))
    made = fit(TrainingSpec.from_json(later))
    assert made.metrics["validation"]["recall@10"] > 0.5
    assert made.metrics["steps"] == len(range(0, values["data"]["examples"]["rows"], 128))
    users, items = vectors(load_model(Path(values["run"]["folder"]))[0], world)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3


@pytest.mark.parametrize("encoder", ["recency", "attention"])
def test_the_weights_of_an_encoder_are_copied(values: dict[str, Any], encoder: str) -> None:
    of_encoder = {"model": {**SPEC.to_json(), "user_encoder": encoder}}
    fit(training_spec(values, "older", epochs=1, **of_encoder))
    older = Path(values["run"]["folder"]).with_name("older")
    learner = learner_of(training_spec(values, warm_start=str(older), **of_encoder))
    inside = learner.towers.user.embedding("history").get_submodule("encoder")
    untrained = {name: weights.detach().clone() for name, weights in inside.named_parameters()}
    start_from(older, learner.towers, learner.tables)
    trained = load_model(older)[0].user.embedding("history").get_submodule("encoder")
    for name, weights in inside.named_parameters():
        assert torch.equal(weights, trained.get_parameter(name)), name
    assert any(not torch.equal(weights, untrained[name]) for name, weights in inside.named_parameters())


def test_the_table_of_hashed_ids_is_copied_whole(values: dict[str, Any]) -> None:
    hashed = replace(SPEC.user[0], kind="hashed_id", buckets=16)
    spec = replace(SPEC, user=(hashed, *SPEC.user[1:]))
    values = changed(values, model=spec.to_json())
    fit(training_spec(values, "older"))
    older = Path(values["run"]["folder"]).with_name("older")
    learner = learner_of(TrainingSpec.from_json(changed(values, warm_start=str(older), seed=9)))
    table = learner.towers.user.embedding("user_id").get_parameter("table.weight")
    assert table.shape[0] == 16 + FIRST_INDEX
    name = "user.embeddings.of_user_id.table.weight"
    trained, sums = dict(load_model(older)[0].named_parameters())[name], load_row_sums(older)[name]
    assert not torch.equal(table, trained)
    start_from(older, learner.towers, learner.tables)
    assert torch.equal(table, trained)
    assert torch.equal(learner.tables.state[table]["sum"], sums)
    assert len(sums.unique()) > 2


def test_a_model_of_another_shape_is_refused() -> None:
    for change, want in (
        ({"embedding_dim": 8}, "another embedding_dim"),
        ({"user": SPEC.user[:1]}, "another user"),
        ({"item_id_shrinkage": 2.0}, "another item_id_shrinkage"),
        ({"user_encoder": "attention"}, "another user_encoder"),
        ({"interests": 3}, r"another number of interests \(1, not 3\): train from scratch"),
        ({"vocabulary_sizes": {**SPEC.vocabulary_sizes, "item_id": 3}}, "a longer vocabulary item_id"),
    ):
        with pytest.raises(ValueError, match=want):
            require_same_shape(SPEC, replace(SPEC, **change), Path("older"))


def test_a_damaged_model_is_refused(values: dict[str, Any]) -> None:
    fit(training_spec(values, "older", epochs=1))
    older = Path(values["run"]["folder"]).with_name("older")
    data = bytearray((older / ROW_SUMS).read_bytes())
    data[-1] ^= 1
    (older / ROW_SUMS).write_bytes(bytes(data))
    with pytest.raises(ModelCorrupt, match=ROW_SUMS):
        fit(TrainingSpec.from_json(grown(values, older)))
    assert not Path(values["run"]["folder"]).exists()
