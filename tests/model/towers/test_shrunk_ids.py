"""Item ids that are shrunk towards the unknown id by their number of training rows."""

from __future__ import annotations

from dataclasses import replace

import torch

from model.towers.two_towers import TwoTowers
from model.vocabulary import UNKNOWN
from tests.model.towers.small_towers import ITEMS, SIZES, SPEC, D, users

SHRUNK = replace(SPEC, item_id_shrinkage=2.0)
COUNTS = torch.tensor([0, 0, 0, 2, 6, 1, 0, 100])


def shrunk(**changes: object) -> TwoTowers:
    torch.manual_seed(0)
    towers = TwoTowers(replace(SHRUNK, **changes))
    towers.set_item_row_counts(COUNTS)
    return towers


def test_an_id_is_its_own_as_far_as_it_has_rows() -> None:
    embedding = shrunk().item.embedding("item_id")
    table = embedding.get_parameter("table.weight")
    found = embedding(torch.tensor([2, 3, 4, UNKNOWN, ITEMS + 5]))  # the last one is newer than the model
    torch.testing.assert_close(found[0], table[UNKNOWN])
    torch.testing.assert_close(found[1], (table[3] + table[UNKNOWN]) / 2)
    torch.testing.assert_close(found[2], 0.75 * table[4] + 0.25 * table[UNKNOWN])
    torch.testing.assert_close(found[3:], table[[UNKNOWN, UNKNOWN]])


def test_the_unknown_id_is_trained_by_all_items_with_few_rows_and_an_id_without_rows_is_not() -> None:
    embedding = shrunk().item.embedding("item_id")
    embedding(torch.tensor([2, 3, 4])).sum().backward()
    gradient = embedding.get_parameter("table.weight").grad
    assert gradient is not None
    assert gradient.is_sparse
    assert gradient.to_dense()[:, 0].tolist() == [0, 1 + 0.5 + 0.25, 0, 0.5, 0.75, 0, 0, 0]


def test_the_history_reads_the_items_own_rows() -> None:
    towers = shrunk(share_item_table=True)
    history = towers.user.embedding("history")
    table = towers.item.embedding("item_id").get_parameter("table.weight")
    torch.testing.assert_close(history(torch.tensor([[2, 0, 0]])), table[[2]])
    assert towers.user(users()).shape == (2, D)
    assert len(towers.tables()) == 2


def test_the_shares_are_part_of_the_weights_and_absent_without_shrinkage() -> None:
    stored = shrunk().state_dict()["item.embeddings.of_item_id.own_share"]
    torch.testing.assert_close(stored, COUNTS / (COUNTS + 2.0))
    plain = TwoTowers(SPEC)
    plain.set_item_row_counts(COUNTS)
    assert plain.state_dict().keys() == {name for name in shrunk().state_dict() if not name.endswith("own_share")}
    assert not any(name.endswith("own_share") for name in dict(shrunk().user.named_buffers()))
    assert len(stored) == SIZES["item_id"]
