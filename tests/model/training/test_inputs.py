"""What a training run reads from its pinned files."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.training.fit import open_inputs
from model.training.inputs import EXAMPLES
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import GONE, SIZE, genres_of, training_spec


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (5, 0)])
def test_another_epoch_or_seed_gives_another_order(values: dict[str, Any], seed: int, epoch: int) -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        inputs = open_inputs(training_spec(values, seed=seed), torch.device("cpu"))
        batches = inputs.batches(EXAMPLES, epoch)
        return torch.cat([rows["item_index"] for rows in batches]).tolist()

    assert drawn(1, 0) == drawn(1, 0)
    assert sorted(drawn(seed, epoch)) == sorted(drawn(1, 0))
    assert drawn(seed, epoch) != drawn(1, 0)


def test_item_features_are_those_of_the_snapshot(values: dict[str, Any]) -> None:
    inputs = open_inputs(training_spec(values), torch.device("cpu")).item_inputs()
    assert inputs["item_id"].tolist() == list(range(SIZE))
    assert inputs["genres"][FIRST_INDEX : FIRST_INDEX + 2].tolist() == [
        genres_of(FIRST_INDEX),
        genres_of(FIRST_INDEX + 1),
    ]
    assert inputs["genres"][GONE].tolist() == [0, 0]
    assert inputs["year"][[FIRST_INDEX, GONE]].isnan().tolist() == [False, True]
