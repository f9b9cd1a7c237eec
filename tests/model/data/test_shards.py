"""Each row belongs to one rank, and all ranks have the same number of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.loaders import epoch_batches
from model.data.shards import shards, step_rows
from tests.model.data.numbered_rows import READ, pinned


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("file_rows", [[10] * 12, [11, 11, 10, 10, 10, 10], [40], [7, 500, 3], [1], [0, 5], []])
def test_every_row_is_assigned_once_and_all_ranks_have_as_many_steps(file_rows: list[int], ranks: int) -> None:
    dealt = shards([f"f{n}" for n in range(len(file_rows))], file_rows, 8, ranks)
    assert sum(shard.rows for shard in dealt) == sum(file_rows)
    assert len({len(shard.steps) for shard in dealt}) == 1
    part = 8 // ranks
    assert all(rows == part for shard in dealt for rows in shard.steps[:-2])
    assert all(rows <= part + 1 for shard in dealt for rows in shard.steps)
    together = np.sum([shard.steps for shard in dealt], axis=0)
    assert sum(file_rows) <= 1 or together.min() > 1  # one row alone has no negatives


def test_planned_row_groups_are_read_by_one_rank_each() -> None:
    dealt = shards(["a", "b", "c", "d"], [100, 101, 101, 100], 50, 2)
    assert sorted(name for shard in dealt for name in shard.files) == ["a", "b", "c", "d"]
    assert [(shard.rows, shard.every) for shard in dealt] == [(201, 1), (201, 1)]


def test_files_that_cannot_be_divided_evenly_are_read_by_all() -> None:
    dealt = shards(["a", "b"], [100, 11], 50, 2)
    assert [(shard.files, shard.rows, shard.every, shard.first) for shard in dealt] == [
        (("a", "b"), 56, 2, 0),
        (("a", "b"), 55, 2, 1),
    ]


@pytest.mark.parametrize(
    ("rank_rows", "part", "want"),
    [
        ([20], 8, [[8, 8, 4]]),
        ([17], 8, [[8, 9]]),
        ([1], 8, [[1]]),
        ([16, 17], 8, [[8, 4, 4], [8, 8, 1]]),
        ([16, 16], 8, [[8, 8], [8, 8]]),
        ([8, 9], 8, [[4, 4], [8, 1]]),
    ],
)
def test_the_last_two_steps_take_what_remains(rank_rows: list[int], part: int, want: list[list[int]]) -> None:
    assert step_rows(rank_rows, part) == want


def test_more_ranks_than_rows_of_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 2 rows requires 1 to 2 ranks, got 3"):
        shards(["a"], [10], 2, 3)


@pytest.mark.parametrize(("files", "group"), [([30, 30], 5), ([30, 31, 30, 30], 50), ([100], 100), ([3] * 12, 5)])
@pytest.mark.parametrize("readers", [1, 2])
def test_the_ranks_together_read_each_row_once(tmp_path: Path, files: list[int], group: int, readers: int) -> None:
    rows = pinned(tmp_path, files, group)
    for epoch in range(5):
        read = [
            [batch["item_index"] for batch in epoch_batches(shard, READ, seed=1 + epoch, readers=readers)]
            for shard in shards(rows.files, files, 16, 2)
        ]
        assert len(read[0]) == len(read[1])
        assert sorted(torch.cat([*read[0], *read[1]]).tolist()) == list(range(rows.rows))
