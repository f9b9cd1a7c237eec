"""What training learns on a small synthetic world. Axes: U users, I item indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.model_version import load_model
from model.towers import TwoTowers
from model.training.fit import fit
from model.vocabulary import FIRST_INDEX, UNKNOWN
from tests.model.small_world import (
    CLUSTERS,
    ITEMS,
    SETTINGS,
    SPEC,
    USERS,
    YOUNG,
    World,
    recall,
    recall_of_popularity,
    training_spec,
    vectors,
)


@pytest.mark.parametrize("correction", ["none", "logq", "logq_negatives"])
def test_the_towers_find_the_clusters(values: dict[str, Any], world: World, correction: str) -> None:
    fit(training_spec(values, correction=correction))
    users, items = vectors(load_model(Path(values["run"]["folder"]), "v1")[0], world)
    found, popular = recall(users @ items.T, world), recall_of_popularity(world)
    assert popular < 0.4
    assert found > popular + 0.3


@pytest.mark.parametrize(
    "negatives",
    [
        {"correction": "logq_negatives", "corpus": 64},
        {"correction": "logq", "bank": 512, "bank_warmup_steps": 5},
        {"correction": "logq_negatives", "corpus": 64, "bank": 512, "bank_holds": "all"},
    ],
    ids=["mns", "cbns", "mixed_cross_batch"],
)
def test_the_other_presets_find_the_clusters(values: dict[str, Any], world: World, negatives: dict[str, Any]) -> None:
    fit(training_spec(values, negatives=negatives))
    towers, _ = load_model(Path(values["run"]["folder"]))
    users, items = vectors(towers, world)
    assert recall(users @ items.T, world) > 2 * recall_of_popularity(world)


def test_half_precision_finds_the_clusters(values: dict[str, Any], world: World) -> None:
    fit(training_spec(values, precision="bfloat16"))
    users, items = vectors(load_model(Path(values["run"]["folder"]), "v1")[0], world)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3


def test_untrained_towers_do_not_find_the_clusters(world: World) -> None:
    torch.manual_seed(0)
    users, items = vectors(TwoTowers(SPEC), world)
    assert recall(users @ items.T, world) < recall_of_popularity(world)


def test_the_correction_ranks_popular_items_higher(values: dict[str, Any], world: World) -> None:
    """Uncorrected in-batch softmax learns ln P(item | user) - ln q(item), which ranks popular items too low."""
    found = {}
    for correction in ("none", "logq"):
        fit(training_spec(values, correction, correction=correction))
        users, items = vectors(load_model(Path(values["run"]["folder"]).with_name(correction))[0], world)
        own = torch.arange(USERS)[:, None] % CLUSTERS == torch.arange(ITEMS) % CLUSTERS  # [U, I]
        clicks = torch.bincount(torch.from_numpy(world.trained.ravel() - FIRST_INDEX), minlength=ITEMS).float()
        scores = (users @ items.T)[own]
        found[correction] = float(torch.corrcoef(torch.stack([scores, clicks.log().expand(USERS, -1)[own]]))[0, 1])
    assert found["logq"] > found["none"] + 0.3


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.2, True)])
def test_dropping_ids_trains_the_unknown_user_and_the_unknown_item(
    values: dict[str, Any], share: float, moves: bool
) -> None:
    fit(training_spec(values, user_id_dropout=share, item_id_dropout=share, epochs=1))
    trained, _ = load_model(Path(values["run"]["folder"]))
    torch.manual_seed(SETTINGS["seed"])
    untrained = TwoTowers(SPEC)
    for side, name in (("user", "user_id"), ("item", "item_id")):
        before, after = (
            getattr(towers, side).embedding(name).get_parameter("table.weight")[UNKNOWN]
            for towers in (untrained, trained)
        )
        assert torch.equal(before, after) != moves, side


def test_an_item_newer_than_the_model_gets_a_vector_from_its_features(values: dict[str, Any], world: World) -> None:
    fit(training_spec(values))
    towers, _ = load_model(Path(values["run"]["folder"]))
    users, _ = vectors(towers, world)
    young = {"item_id": torch.full((CLUSTERS,), YOUNG), "year": torch.full((CLUSTERS,), 2026.0)}
    genres = torch.tensor([[FIRST_INDEX + cluster, 0] for cluster in range(CLUSTERS)])
    with torch.no_grad():
        items = towers.item({**young, "genres": genres})  # [CLUSTERS, D], one of each cluster
    torch.testing.assert_close(items.norm(dim=1), torch.ones(CLUSTERS))
    nearest = (users @ items.T).argmax(dim=1)  # [U]
    assert (nearest == torch.arange(USERS) % CLUSTERS).float().mean() > 0.9


def test_several_hashes_estimate_frequencies_better_than_one_with_as_many_buckets(
    values: dict[str, Any], world: World
) -> None:
    """With half as many buckets as items, each bucket of a single hash mixes two items."""
    errors = {}
    for hashes in (1, 4):
        settings = {"frequency_source": "streaming", "streaming_buckets": ITEMS // 2, "streaming_hashes": hashes}
        made = fit(training_spec(values, f"of_{hashes}", **settings))
        errors[hashes] = made.metrics["estimator"]["log_ratio"]
        users, items = vectors(load_model(Path(values["run"]["folder"]).with_name(f"of_{hashes}"))[0], world)
        assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.2, hashes
    assert 0 < errors[4] < 0.75 * errors[1]
