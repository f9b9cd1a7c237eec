"""Inputs on which training stops without a model, and weights that it does not save."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.data.pinned_files import RowCountMismatch
from model.data.verification import PinnedFileDamaged
from model.training import inputs as reading
from model.training.fit import fit
from model.training.loop import Batch, Progress, TrainingDiverged
from model.training.step_loss import StepLoss
from tests.model.small_world import SIZE, World, training_spec


def without(table: pa.Table, index: int) -> pa.Table:
    return table.filter(pa.array(table["item_index"].to_numpy() != index))


def put(values: dict[str, Any], name: str, table: pa.Table) -> None:
    """Replace the rows of one of the pinned tables."""
    path = Path(values["run"]["folder"]).with_name(f"{name}.parquet")
    pq.write_table(table, path, row_group_size=250)
    values["data"][name] = {"version": 0, "files": [path.as_uri()], "rows": table.num_rows}


@pytest.mark.parametrize("correction", ["none", "logq"])
def test_a_trained_item_without_a_probability_is_named(values: dict[str, Any], world: World, correction: str) -> None:
    table = without(world.probabilities(), 5)
    for column in ("q", "u"):
        shares = table[column].to_numpy()
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(shares / shares.sum()))
    put(values, "probabilities", table)
    with pytest.raises(ValueError, match=r"at item id 5$"):
        fit(training_spec(values, correction=correction))
    assert not Path(values["run"]["folder"]).exists()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -0.5, 0.9])
@pytest.mark.parametrize("column", ["q", "u"])
def test_broken_probabilities_are_refused(values: dict[str, Any], world: World, column: str, broken: float) -> None:
    table = world.probabilities()
    shares = table[column].to_numpy().copy()
    shares[7] = broken
    put(values, "probabilities", table.set_column(table.column_names.index(column), column, pa.array(shares)))
    steps: list[Progress] = []
    with pytest.raises(ValueError, match=rf"item_sampling_probs.{column} must be 0 or more and sum to 1"):
        fit(training_spec(values), steps.append)
    assert not steps


def test_tables_that_do_not_fit_are_refused_before_they_are_made(values: dict[str, Any]) -> None:
    values["run"]["max_table_gb"] = 1e-6
    with pytest.raises(
        ValueError, match=r"must fit into the 1e-06 GB of training.max_table_gb, got .*user_id .* rows x"
    ):
        fit(training_spec(values))
    assert not Path(values["run"]["folder"]).exists()


def test_a_directory_instead_of_files_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    """Files in it can be of any table version; a spec must list the files of one version."""
    values["data"]["examples"]["files"] = [tmp_path.as_uri()]
    steps: list[Progress] = []
    with pytest.raises((OSError, PinnedFileDamaged)):
        fit(training_spec(values), steps.append)
    assert not steps


def test_an_out_of_vocabulary_item_is_named(values: dict[str, Any], world: World) -> None:
    table = world.examples()
    indices = table["item_index"].to_numpy().copy()
    indices[100] = SIZE
    put(values, "examples", table.set_column(3, "item_index", pa.array(indices)))
    with pytest.raises(ValueError, match=f"item indices of the examples must be below {SIZE}, got {SIZE}"):
        fit(training_spec(values))


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_row_count_stops_before_the_first_step(values: dict[str, Any], wrong: int) -> None:
    values["data"]["examples"]["rows"] += wrong
    steps: list[Progress] = []
    with pytest.raises(RowCountMismatch):
        fit(training_spec(values), steps.append)
    assert not steps
    assert not Path(values["run"]["folder"]).exists()


def test_a_loader_that_loses_rows_leaves_no_model(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "check_files", lambda table, pinned, columns, **_: [pinned.rows])
    values["data"]["examples"]["rows"] += 1
    with pytest.raises(RowCountMismatch, match="an epoch read"):
        fit(training_spec(values))
    assert not Path(values["run"]["folder"]).exists()


def test_weights_that_are_not_finite_are_not_saved(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss can have an infinite gradient, which no later loss shows after the last step."""

    def spoilt(self: StepLoss, batch: Batch) -> torch.Tensor:
        return (self.towers.dense()[0].sum() * 0.0).sqrt()  # 0, with an infinite slope

    monkeypatch.setattr(StepLoss, "__call__", spoilt)
    one_step = training_spec(values, epochs=1, batch_size=10_000, shuffle_row_groups=100)
    with pytest.raises(TrainingDiverged, match="the last step left weights"):
        fit(one_step)
    assert not Path(values["run"]["folder"]).exists()
