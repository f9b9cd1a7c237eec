"""Each item of a step has its age on the day of a row of the batch; the catalogue has that of the held-out day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.features import FeatureSpec
from model.features.tensors import aged
from model.training.inputs import example_features
from model.training.learner import Learner
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import GONE, SPEC, learner_of, training_spec

AGE = FeatureSpec("days_old", "age", 4, 1, "year", None)  # the year stands for the day since which an item is known
WITH_AGE = replace(SPEC, item=(SPEC.item[0], AGE)).to_json()
HELD_OUT = 2_100
STATS = {"user": {"age": [[40.0], [10.0]]}, "item": {"days_old": [[0.0], [1.0]]}}


def test_days_become_ages_and_other_values_stay() -> None:
    id_feature = SPEC.item[0]
    values = {"item_id": torch.tensor([4, 5, 6]), "days_old": torch.tensor([20_000.0, 20_010.0, torch.nan])}
    found = aged(values, [id_feature, AGE], torch.tensor([20_007, 20_007, 20_007]))
    assert found["item_id"] is values["item_id"]
    np.testing.assert_allclose(found["days_old"], [np.log(8), 0.0, np.nan], rtol=1e-6)  # later is 0 days ago
    np.testing.assert_allclose(aged(values, [AGE], 20_000)["days_old"], [0.0, 0.0, np.nan])
    assert found["days_old"].dtype == torch.float32


def learner(values: dict[str, Any]) -> Learner:
    negatives = values["loss"]["negatives"] | {"corpus": 40}
    changes = {"model": WITH_AGE, "numeric_stats": STATS, "epoch_day": HELD_OUT, "item_id_dropout": 0.0}
    return learner_of(training_spec(values, **{**changes, "negatives": negatives}))


def embedded(made: Learner, work: Callable[[], object]) -> tuple[np.ndarray, np.ndarray]:
    """The ids [N] and ages [N] of the items that the item tower embeds first while `work` runs."""
    seen: list[dict[str, torch.Tensor]] = []
    handle = made.towers.item.register_forward_pre_hook(lambda tower, inputs: seen.append(inputs[0]))
    work()
    handle.remove()
    return seen[0]["item_id"].numpy(), seen[0]["days_old"].numpy()


def ages(items: np.ndarray, days: np.ndarray) -> np.ndarray:
    return np.where(items < FIRST_INDEX, np.nan, np.log1p(np.maximum(days - (1980.0 + items % 40), 0)))


def test_positives_and_negatives_have_their_age_on_the_day_of_a_row(values: dict[str, Any]) -> None:
    days = np.array([1_990, 2_050, 2_001])
    batch = {
        "user_id": torch.tensor([2, 3, 4]),
        "history": torch.tensor([[3, 4, 0], [0, 0, 0], [5, 0, 0]]),
        "age": torch.tensor([20.0, 30.0, 40.0]),
        "item_index": torch.tensor([30, 31, 32]),
        "epoch_day": torch.from_numpy(days),
    }
    made = learner(values)
    items, found = embedded(made, lambda: made.loss(batch))
    assert len(items) > 3
    assert items[:3].tolist() == [30, 31, 32]
    np.testing.assert_allclose(found, ages(items, np.resize(days, len(items))), rtol=1e-6)


def test_the_catalogue_has_its_age_on_the_held_out_day(values: dict[str, Any]) -> None:
    made, every = learner(values), torch.arange(FIRST_INDEX, GONE)
    items, found = embedded(made, lambda: made.item_vectors(every))
    np.testing.assert_allclose(found, ages(items, np.full(len(items), HELD_OUT)), rtol=1e-6)


@pytest.mark.parametrize("item", [SPEC.item, (SPEC.item[0], AGE)])
def test_the_day_of_an_example_is_read_if_items_have_an_age(
    values: dict[str, Any], item: tuple[FeatureSpec, ...]
) -> None:
    made = training_spec(values)
    read = example_features(replace(SPEC, item=item), made.loss, made.data)
    assert ("epoch_day" in [feature.name for feature in read]) == (AGE in item)
