"""What a training run reads from its pinned files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.training.fit import open_inputs
from model.training.inputs import EXAMPLES
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import GONE, SIZE, World, genres_of, training_spec


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


def test_the_rows_of_an_item_are_those_of_the_epochs_and_later_also_of_the_last_day(
    values: dict[str, Any], world: World, tmp_path: Path
) -> None:
    rows, shares = world.examples(), world.probabilities().select(["item_index", "u", "p"])
    counted = {}
    for name, column, part in (("examples", "q_before", rows.slice(0, 2500)), ("last_day", "q_last", rows.slice(2500))):
        pq.write_table(part, tmp_path / f"{name}.parquet", row_group_size=250)
        values["data"][name] = {"version": 0, "files": [(tmp_path / f"{name}.parquet").as_uri()], "rows": len(part)}
        counted[name] = torch.bincount(torch.from_numpy(part["item_index"].to_numpy().copy()), minlength=SIZE)  # [I]
        share = counted[name][torch.from_numpy(shares["item_index"].to_numpy().copy())] / len(part)
        shares = shares.append_column(column, pa.array(share.double().numpy()))
    pq.write_table(shares, tmp_path / "probabilities.parquet")
    inputs = open_inputs(training_spec(values), torch.device("cpu"))
    assert inputs.row_counts(with_last_day=False).tolist() == counted["examples"].tolist()
    assert inputs.row_counts(with_last_day=True).tolist() == (counted["examples"] + counted["last_day"]).tolist()
