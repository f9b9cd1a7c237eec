"""How the rows of an epoch are divided into the steps of each rank.

Axis letters: R ranks, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """The rows that one rank reads in an epoch, and how many of them form each step."""

    files: tuple[str, ...]  # URLs
    steps: tuple[int, ...]  # rows of each step; every rank has the same number of steps
    every: int = 1  # every `every`-th row of the files is read,
    first: int = 0  # beginning with row `first`

    @property
    def rows(self) -> int:
        return sum(self.steps)


def shards(files: Sequence[str], file_rows: Sequence[int], batch_size: int, ranks: int = 1) -> list[Shard]:
    """One shard per rank: each row belongs to one rank, and all ranks have the same number of steps.

    batch_size: rows of one step, of all ranks together. Ranks get whole files if their row counts then differ by less
    than a rank's rows of a step, as they do for the files that `build_training_examples` writes. Otherwise every rank
    reads all files and uses every R-th row.
    Raises ValueError if a batch has fewer rows than there are ranks.
    """
    if not 1 <= ranks <= batch_size:
        raise ValueError(f"a batch of {batch_size} rows requires 1 to {batch_size} ranks, got {ranks}")
    part = batch_size // ranks
    assigned = _assigned_files(file_rows, ranks)
    rank_rows = [sum(file_rows[number] for number in numbers) for numbers in assigned]
    if max(rank_rows) - min(rank_rows) < part:
        steps = step_rows(rank_rows, part)
        chosen = [tuple(files[number] for number in numbers) for numbers in assigned]
        return [Shard(names, tuple(rows)) for names, rows in zip(chosen, steps, strict=True)]
    total = sum(file_rows)
    rank_rows = [(total - rank + ranks - 1) // ranks for rank in range(ranks)]
    steps = step_rows(rank_rows, part)
    return [Shard(tuple(files), tuple(rows), ranks, rank) for rank, rows in enumerate(steps)]


def _assigned_files(file_rows: Sequence[int], ranks: int) -> list[list[int]]:
    """The numbers of each rank's files: the largest file first, each to the rank with the fewest rows so far."""
    assigned: list[list[int]] = [[] for _ in range(ranks)]
    rows = [0] * ranks
    for number in sorted(range(len(file_rows)), key=lambda number: (-file_rows[number], number)):
        rank = min(range(ranks), key=lambda rank: (rows[rank], rank))
        assigned[rank].append(number)
        rows[rank] += file_rows[number]
    return [sorted(numbers) for numbers in assigned]


def step_rows(rank_rows: Sequence[int], part: int) -> list[list[int]]:
    """The rows of each rank's steps, [R][S]: `part` rows per step, and the remaining rows in the last two steps.

    rank_rows: the rows of each rank, which differ by less than `part`. A last step with only one row of all ranks is
    merged into the step before it, because the row would have no negatives.
    """
    count = max(-(-max(rank_rows) // part), 1)
    steps = []
    for rows in rank_rows:
        rest = rows - part * max(count - 2, 0)
        if count == 1:
            steps.append([rows])
        elif len(rank_rows) == 1 or rest > part:
            steps.append([part] * (count - 1) + [rest - part])
        else:  # another rank has a full last step, and this rank must take part in it
            steps.append([part] * (count - 2) + [rest - rest // 2, rest // 2])
    if count > 1 and sum(rows[-1] for rows in steps) == 1 < part * len(rank_rows):
        steps = [[*rows[:-2], rows[-2] + rows[-1]] for rows in steps]
    return steps
