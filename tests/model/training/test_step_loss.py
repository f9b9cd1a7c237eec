"""The loss of a batch, compared with a direct computation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.towers import TwoTowers
from model.training.fit import open_inputs
from model.training.inputs import EXAMPLES
from tests.model.small_world import SPEC, World, learner_of, loss_of, training_spec


def test_a_batch_of_one_row_has_no_negatives_and_no_loss(values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(SPEC)
    loss = loss_of(training_spec(values), towers)
    one = {"user_id": [2], "history": [[3, 4, 0]], "age": [30.0], "item_index": [3]}
    assert float(loss({name: torch.tensor(value) for name, value in one.items()}).detach()) == 0


def test_the_loss_is_the_corrected_softmax_over_the_batch(values: dict[str, Any], world: World) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(SPEC)
    rows = world.examples().slice(0, 4)
    batch = {
        "user_id": torch.tensor(rows["user_index"].to_pylist()),
        "history": torch.tensor(rows["history"].to_pylist()),
        "age": torch.tensor([20.0, math.nan, 40.0, 50.0]),
        "item_index": torch.tensor([2, 3, 4, 5]),
    }
    made = training_spec(values, user_id_dropout=0.0, item_id_dropout=0.0, correction="logq_negatives")
    inputs = open_inputs(made, torch.device("cpu")).item_inputs()
    scores = towers.user(batch) @ towers.item({name: table[2:6] for name, table in inputs.items()}).T / 0.2  # [4, 4]
    columns = world.probabilities().to_pydict()
    q = dict(zip(columns["item_index"], columns["q"], strict=True))
    log_count = torch.tensor([math.log(3 * q[item]) for item in (2, 3, 4, 5)])
    logits = torch.where(torch.eye(4, dtype=torch.bool), scores, scores - log_count)
    want = torch.nn.functional.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(loss_of(made, towers)(batch), want)


FINAL = 1_000  # seconds: when the outcome of the example's request is known


def one_batch(**changes: Any) -> dict[str, torch.Tensor]:
    batch = {
        "user_id": [2, 3],
        "history": [[3, 4, 0], [0, 0, 0]],
        "age": [30.0, 40.0],
        "item_index": [4, 5],
        "unclicked": [[6, 7, 0], [8, 0, 0]],
        "outcome_final_at": [FINAL, FINAL],
        "weight": [1.0, 1.0],
    }
    return {name: torch.tensor(value) for name, value in (batch | changes).items()}


def loss_with(
    values: dict[str, Any], batch: dict[str, torch.Tensor], final_before: int = FINAL + 1, **negatives: Any
) -> float:
    torch.manual_seed(0)
    sources = {"correction": "logq", **negatives}
    spec = training_spec(values, final_before=final_before, negatives=sources, user_id_dropout=0.0, item_id_dropout=0.0)
    return float(learner_of(spec).step_loss(batch).detach())


def test_a_rows_own_negatives_add_to_its_loss(values: dict[str, Any]) -> None:
    without = loss_with(values, one_batch())
    assert loss_with(values, one_batch(), row=3) > without
    assert loss_with(values, one_batch(unclicked=[[0] * 3] * 2), row=3) == pytest.approx(without)


def test_row_negatives_beyond_the_configured_number_are_left_out(values: dict[str, Any]) -> None:
    one = loss_with(values, one_batch(unclicked=[[6, 0, 0], [8, 0, 0]]), row=3)
    assert loss_with(values, one_batch(), row=1) == pytest.approx(one)


def test_a_row_whose_outcome_was_not_final_has_no_negatives_of_its_own(values: dict[str, Any]) -> None:
    early = loss_with(values, one_batch(outcome_final_at=[FINAL, FINAL + 1]), row=3)
    assert early == pytest.approx(loss_with(values, one_batch(unclicked=[[6, 7, 0], [0, 0, 0]]), row=3))
    assert loss_with(values, one_batch(), final_before=FINAL, row=3) == pytest.approx(loss_with(values, one_batch()))


def test_an_example_counts_by_its_weight(values: dict[str, Any]) -> None:
    whole = loss_with(values, one_batch())
    assert loss_with(values, one_batch(weight=[3.0, 3.0])) == pytest.approx(3 * whole)
    assert loss_with(values, one_batch(weight=[2.0, 0.0])) != pytest.approx(whole)


def test_weights_and_unclicked_items_are_read_only_if_configured(values: dict[str, Any], world: World) -> None:
    rows = world.examples()
    lists = pa.array([[7, 8, 0]] * len(rows), pa.list_(pa.int32()))
    rows = rows.append_column("unclicked", lists).append_column("outcome_final_at", pa.array([FINAL] * len(rows)))
    rows = rows.append_column("weight", pa.array([1.5] * len(rows), pa.float32()))
    file = Path(values["run"]["folder"]).with_name("more.parquet")
    pq.write_table(rows, file)
    pinned = {"version": 0, "files": [file.as_uri()], "rows": len(rows)}
    for settings, negatives, want in (
        ({}, {}, set()),
        ({"example_weights": "reward"}, {}, {"weight"}),
        ({}, {"row": 2}, {"unclicked", "outcome_final_at"}),
        ({}, {"mask": "user"}, {"user_index"}),
    ):
        sources = {"correction": "logq", **negatives}
        spec = training_spec(values, examples=pinned, unclicked_length=3, batch_size=8, negatives=sources, **settings)
        batch = next(open_inputs(spec, torch.device("cpu")).batches(EXAMPLES, 0))
        assert set(batch) - {"user_id", "history", "age", "item_index"} == want
