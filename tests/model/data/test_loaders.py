"""Real Parquet files through Petastorm: each row once, in a seeded order. Axis: I item indices."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.data.loaders import epoch_batches
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec
from tests.model.data.numbered_rows import IMAGE, batches, numbers, pinned, whole, write

SHAPES = [
    pytest.param([30], 30, 1, id="one row group"),
    pytest.param([30, 30], 5, 1, id="many row groups"),
    pytest.param([30, 30], 5, 2, id="many row groups, two readers"),
    pytest.param([3] * 12, 5, 1, id="a file has less than a row group"),
]


@pytest.mark.parametrize(("files", "group", "readers"), SHAPES)
def test_every_epoch_has_each_row_exactly_once(tmp_path: Path, files: list[int], group: int, readers: int) -> None:
    rows = pinned(tmp_path, files, group)
    for epoch in range(60):
        read = list(batches(rows, seed=1 + epoch, readers=readers))
        n = torch.cat([batch["item_index"] for batch in read])
        assert sorted(n.tolist()) == list(range(rows.rows)), f"epoch {epoch}"
        history = torch.cat([batch["history"] for batch in read])
        assert torch.equal(history, n[:, None] + torch.arange(3))  # columns are shuffled together
        torch.testing.assert_close(torch.cat([batch["age"] for batch in read]), n / 2)


def test_the_same_seed_gives_the_same_order(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [60, 60], 5)
    orders = [numbers(batches(rows, seed=7)) for _ in range(10)]
    assert all(order == orders[0] for order in orders)


@pytest.mark.parametrize("files", [[60, 60], [40]])
def test_another_seed_gives_another_order(tmp_path: Path, files: list[int]) -> None:
    rows = pinned(tmp_path, files, 40)
    orders = {tuple(numbers(batches(rows, seed=seed))) for seed in range(1, 6)}
    assert len(orders) == 5


def test_row_groups_are_mixed_with_each_other(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [400], 50)
    batch = next(batches(rows, batch_size=64, shuffle_row_groups=8))
    groups = np.bincount(batch["item_index"].numpy() // 50, minlength=8)
    assert (groups >= 2).all()  # 8 expected of each, and fewer than 2 in 1 of 600 seeds


def test_row_groups_of_different_blocks_are_not_mixed(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [400], 50)
    for batch in batches(rows, batch_size=50, shuffle_row_groups=1):
        assert len(set((batch["item_index"] // 50).tolist())) == 1


def test_row_groups_come_in_a_shuffled_order(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [400], 50)
    order = [int(batch["item_index"][0]) // 50 for batch in batches(rows, batch_size=50, shuffle_row_groups=1)]
    assert sorted(order) == list(range(8))
    assert order != list(range(8))


def test_another_seed_gives_another_order_of_row_groups(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [400], 50)
    orders = {
        tuple(
            int(batch["item_index"][0]) // 50 for batch in batches(rows, batch_size=50, seed=seed, shuffle_row_groups=1)
        )
        for seed in range(1, 6)
    }
    assert len(orders) == 5


@pytest.mark.parametrize("mixed", [1, 2, 3, 8])
@pytest.mark.parametrize(("total", "want"), [(48, [8] * 6), (50, [8] * 6 + [2]), (7, [7])])
def test_all_batches_but_the_last_are_full(tmp_path: Path, total: int, want: list[int], mixed: int) -> None:
    rows = pinned(tmp_path, [total], 5)
    assert [len(batch["item_index"]) for batch in batches(rows, shuffle_row_groups=mixed)] == want


@pytest.mark.parametrize("group", [5, 7, 8, 16, 49])
@pytest.mark.parametrize("mixed", [1, 2, 8])
def test_a_single_last_row_joins_the_batch_before_it(tmp_path: Path, group: int, mixed: int) -> None:
    rows = pinned(tmp_path, [49], group)
    assert [len(batch["item_index"]) for batch in batches(rows, shuffle_row_groups=mixed)] == [8] * 5 + [9]


def test_a_single_last_row_joins_a_batch_of_the_block_before(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [33], 16)  # two row groups fill whole batches, and the third is one row
    for seed in range(1, 21):  # it comes last in a third of them
        read = list(batches(rows, seed=seed, shuffle_row_groups=1))
        assert [len(batch["item_index"]) for batch in read] == [8, 8, 8, 9], f"seed {seed}"
        assert sorted(numbers(iter(read))) == list(range(33))


def test_batches_of_one_row_are_not_joined(tmp_path: Path) -> None:
    assert [len(batch["item_index"]) for batch in batches(pinned(tmp_path, [5], 2), batch_size=1)] == [1] * 5


def test_a_table_of_one_row_is_one_batch(tmp_path: Path) -> None:
    assert numbers(batches(pinned(tmp_path, [1], 5))) == [0]


def test_a_missing_vector_is_read_as_nan(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))})
    (batch,) = epoch_batches(whole(PinnedFiles(0, write(tmp_path, [table], 2), 2)), [IMAGE], seed=1)
    assert sorted(batch["image"].isnan().tolist()) == [[False, False], [True, True]]


def test_a_column_may_be_named_like_a_keyword_or_begin_like_another(tmp_path: Path) -> None:
    table = pa.table({"class": [1, 2], "class_of": [3, 4], "subclass": [["a"], ["b"]]})
    feature = FeatureSpec("class", "categorical", 2, 1, "class", "item.class")
    (batch,) = epoch_batches(whole(PinnedFiles(0, write(tmp_path, [table], 2), 2)), [feature], seed=1)
    assert {name: sorted(values.tolist()) for name, values in batch.items()} == {"class": [1, 2]}


@pytest.mark.parametrize("column", ["a+b", "a.b", "$a", "(a)"])
def test_a_column_name_is_not_used_as_a_pattern(tmp_path: Path, column: str) -> None:
    table = pa.table({column: [1, 2], "a-b": [3, 4], "aab": [5, 6]})
    feature = FeatureSpec("a", "categorical", 2, 1, column, "item.a")
    (batch,) = epoch_batches(whole(PinnedFiles(0, write(tmp_path, [table], 2), 2)), [feature], seed=1)
    assert sorted(batch["a"].tolist()) == [1, 2]


def test_a_folder_may_have_a_name_that_urls_escape(tmp_path: Path) -> None:
    rows = pinned(tmp_path / "a lake at 100 %, größer", [12], 5)
    assert "%20" in rows.files[0]
    assert sorted(numbers(batches(rows))) == list(range(12))


def test_an_abandoned_epoch_leaves_no_thread_behind(tmp_path: Path) -> None:
    rows = pinned(tmp_path, [200], 5)
    before = set(threading.enumerate())
    read = batches(rows, shuffle_row_groups=1)
    next(read)
    assert set(threading.enumerate()) > before
    read.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before
