"""Tables with rows for some indices only: which row an index has, and what a model with such tables saves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.artifacts.model_version import ModelVersion, load_model, save_model
from model.towers.table_rows import MAX_INDICES_PER_ROW, TableRows, common_rows
from model.towers.two_towers import TwoTowers
from model.vocabulary import PADDING, UNKNOWN
from tests.model.towers.small_towers import ITEMS, SPEC, users

LIVE = {"user_id": torch.tensor([0, 1, 3, 7]), "item_id": torch.tensor([0, 1, 2, 4, 5])}
COUNTS = torch.arange(ITEMS)


def partial(**changes: object) -> TwoTowers:
    torch.manual_seed(0)
    rows = {name: len(indices) for name, indices in LIVE.items()}
    towers = TwoTowers(replace(SPEC, table_rows=rows, share_item_table=True, **changes))
    towers.assign_rows(LIVE)
    towers.set_item_row_counts(COUNTS)
    return towers


def of_items(towers: TwoTowers, indices: list[int]) -> Tensor:
    return towers.item({"item_id": torch.tensor(indices), "image": torch.zeros(len(indices), 2)})


@pytest.mark.parametrize("last", [9, 1_000], ids=["by a map", "by a search"])
def test_an_index_has_its_own_row_or_that_of_the_unknown_one(last: int) -> None:
    rows = TableRows(4)
    rows(torch.tensor([2]))
    rows.assign(torch.tensor([0, 1, 5, last]))
    found = rows(torch.tensor([[PADDING, UNKNOWN, 5], [last, 2, 6], [last - 1, last + 1, 2**31 - 1]]))
    assert found.tolist() == [[0, 1, 2], [3, 1, 1], [1, 1, 1]]
    assert (last < MAX_INDICES_PER_ROW * 4) == bool(len(rows._row_by_index()))


def test_the_towers_read_the_row_of_the_index() -> None:
    towers = partial()
    table = towers.item.embedding("item_id").get_parameter("table.weight")
    assert table.shape[0] == 5
    assert towers.user.embedding("user_id").get_parameter("table.weight").shape[0] == 4
    known, unknown = of_items(towers, [2, 4, 5]), of_items(towers, [UNKNOWN, 3, 6, 7, 100])
    assert len(known.unique(dim=0)) == 3
    torch.testing.assert_close(unknown, unknown[:1].expand(5, -1))
    history = torch.tensor([[5, 0, 0], [3, 0, 0]])
    lists = towers.user.embedding("history")(towers.rows["item_id"](history))
    torch.testing.assert_close(lists, table[[4, UNKNOWN]])
    with_unknown, with_dead = (towers.user(users(user_id=torch.tensor([7, dead]))) for dead in (UNKNOWN, 6))
    torch.testing.assert_close(with_unknown, with_dead)


def test_ids_are_shrunk_by_the_counts_of_their_own_index() -> None:
    towers = partial(item_id_shrinkage=2.0)
    share = towers.item.embedding("item_id").get_buffer("own_share")
    torch.testing.assert_close(share, LIVE["item_id"] / (LIVE["item_id"] + 2.0))


def test_a_saved_model_has_its_rows(tmp_path: Path) -> None:
    towers = partial(item_id_shrinkage=2.0)
    save_model(tmp_path / "model", towers, ModelVersion("v1", towers.spec, {}, {}, {}))
    loaded, version = load_model(tmp_path / "model")
    assert version.spec.table_rows == {"user_id": 4, "item_id": 5}
    assert version.spec.vocabulary_sizes == SPEC.vocabulary_sizes
    assert torch.equal(of_items(loaded, [2, 3, 4, 5, 6, 7]), of_items(towers, [2, 3, 4, 5, 6, 7]))
    inputs = users(user_id=torch.tensor([3, 4]), history=torch.tensor([[5, 4, 3], [2, 7, 0]]))
    assert torch.equal(loaded.user(inputs), towers.user(inputs))


def test_a_table_names_the_index_of_each_row() -> None:
    found = partial().indices_of_tables()
    assert {name: indices.tolist() for name, indices in found.items()} == {
        "user.embeddings.of_user_id.table.weight": LIVE["user_id"].tolist(),
        "user.embeddings.of_history.table.weight": LIVE["item_id"].tolist(),
    }
    whole = TwoTowers(SPEC).indices_of_tables()["item.embeddings.of_item_id.table.weight"]
    assert whole.tolist() == list(range(ITEMS))


def test_common_rows_have_the_same_index() -> None:
    rows, others = common_rows(torch.tensor([0, 1, 4, 6, 9]), torch.tensor([0, 1, 2, 6]))
    assert (rows.tolist(), others.tolist()) == ([0, 1, 3], [0, 1, 3])
    assert common_rows(torch.tensor([0, 1]), torch.tensor([0, 1, 8]))[1].tolist() == [0, 1]
