"""The pass over the held-out day leaves out some users, and the model is measured on them before and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.data.held_back import held_back
from model.towers import TwoTowers
from model.training.fit import fit, open_inputs
from model.training.inputs import LAST_DAY
from model.training.loop import Batch, Progress
from model.training.processes.ranks import Ranks
from model.training.spec import MAX_HELD_BACK_SHARE, TrainingSpec
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import CPU, HELD_OUT, USERS, World, changed, training_spec

SHARE, SALT = 0.3, 7


@pytest.fixture
def held_out(values: dict[str, Any], world: World, tmp_path: Path) -> dict[str, Any]:
    """A spec whose last day has each user's held-out clicks."""
    users = np.repeat(np.arange(USERS), HELD_OUT)
    rows = pa.table(
        {
            "user_index": pa.array(users + FIRST_INDEX, pa.int32()),
            "history": pa.array(world.history[users].tolist(), pa.list_(pa.int32())),
            "age": pa.array([30.0] * len(users), pa.float32()),
            "item_index": pa.array(world.held_out.ravel(), pa.int32()),
        }
    )
    pq.write_table(rows, tmp_path / "last_day.parquet", row_group_size=150)
    table = world.probabilities()
    for name in ("q_before", "q_last"):
        table = table.append_column(name, table["q"])
    pq.write_table(table, tmp_path / "probabilities.parquet")
    last = {"version": 0, "files": [(tmp_path / "last_day.parquet").as_uri()], "rows": len(rows)}
    return changed(values, last_day=last, epochs=2, min_held_back_share=SHARE, epoch_day=SALT)


def chosen_users() -> set[int]:
    users = torch.arange(FIRST_INDEX, FIRST_INDEX + USERS)
    return set(users[held_back(users, SHARE, SALT)].tolist())


def test_a_held_back_user_learns_nothing_from_the_last_pass(held_out: dict[str, Any]) -> None:
    tables: list[torch.Tensor] = []

    def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
        tables.append(towers.user.embedding("user_id").get_parameter("table.weight").detach().clone())

    made = fit(training_spec(held_out, user_id_dropout=0.0), on_epoch_end=on_epoch_end)
    before, after = tables[-2:]
    same = (before == after).all(dim=1)[FIRST_INDEX:]  # [USERS]
    assert set((same.nonzero()[:, 0] + FIRST_INDEX).tolist()) == chosen_users()
    found = made.metrics["last_pass"]
    rows = len(chosen_users()) * HELD_OUT
    assert (found["held_back_rows"], found["rows"], found["users"]) == (rows, rows, len(chosen_users()))
    assert {found[part]["rows"] for part in ("before", "after", "popularity")} == {rows}
    assert found["after"]["ndcg"] != found["before"]["ndcg"]
    assert found["change"]["ndcg"]["mean"] == pytest.approx(found["after"]["ndcg"] - found["before"]["ndcg"])
    assert found["change"]["ndcg"]["standard_error"] > 0
    assert found["after"]["recall@10"] > found["popularity"]["recall@10"]


def test_without_held_back_users_all_rows_are_trained_on(held_out: dict[str, Any]) -> None:
    made = fit(training_spec(held_out, min_held_back_share=0.0, min_held_back_rows=100))
    assert made.metrics["last_pass"] is None
    inputs = open_inputs(training_spec(held_out, min_held_back_share=0.0), CPU)
    assert sum(rows_of(batch) for batch in inputs.last_pass_batches(1)) == USERS * HELD_OUT


def rows_of(batch: Batch) -> int:
    return len(batch["item_index"])


def test_two_ranks_hold_back_the_users_that_one_does(held_out: dict[str, Any]) -> None:
    spec, found, trained = training_spec(held_out), [], 0
    for rank in range(2):
        inputs = open_inputs(spec, CPU, Ranks(rank, 2))
        found += [batch["user_index"] for batch in inputs.held_back_batches(5)]
        batches = list(inputs.last_pass_batches(5))
        assert len(batches) == len(list(inputs.batches(LAST_DAY, 5)))
        trained += sum(map(rows_of, batches))
        assert not any(chosen_users() & set(batch["user_id"].tolist()) for batch in batches)
    users, counts = torch.cat(found).unique(return_counts=True)
    assert set(users.tolist()) == chosen_users()
    assert set(counts.tolist()) == {HELD_OUT}
    assert trained == (USERS - len(users)) * HELD_OUT


def test_the_pass_that_continues_skips_the_batches_that_were_trained_on(held_out: dict[str, Any]) -> None:
    inputs = open_inputs(training_spec(held_out), CPU)
    whole, rest = list(inputs.last_pass_batches(5)), list(inputs.last_pass_batches(5, 2))
    assert len(rest) == len(whole) - 2 > 0
    for one, other in zip(whole[2:], rest, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_so_many_held_back_rows_are_measured_and_the_rows_of_the_batches_have_no_other_columns(
    held_out: dict[str, Any],
) -> None:
    inputs = open_inputs(training_spec(held_out, validation_rows=40), CPU)
    assert 40 <= sum(map(rows_of, inputs.held_back_batches(5))) < 40 + inputs.data.batch_size
    names = {feature.name for feature in inputs.features}
    assert "user_index" not in names
    assert all(set(batch) == names for batch in inputs.last_pass_batches(5))


@pytest.mark.parametrize(
    ("rows", "share", "min_rows", "found"),
    [
        (10_000, 0.1, 200, 0.1),
        (1_000, 0.1, 200, 0.2),
        (150, 0.1, 200, MAX_HELD_BACK_SHARE),
        (150, 0.4, 200, 0.4),
        (150, 0.0, 200, 0.0),
        (150, 0.1, 0, 0.1),
    ],
)
def test_more_users_are_held_back_on_a_day_with_few_rows(
    held_out: dict[str, Any], rows: int, share: float, min_rows: int, found: float
) -> None:
    last = {**held_out["data"]["last_day"], "rows": rows}
    spec = changed(held_out, last_day=last, min_held_back_share=share, min_held_back_rows=min_rows)
    assert TrainingSpec.from_json(spec).data.held_back_share == pytest.approx(found)


def test_without_a_held_out_day_nobody_is_held_back(held_out: dict[str, Any]) -> None:
    assert TrainingSpec.from_json(changed(held_out, last_day=None)).data.held_back_share == 0
