"""Who reads what: an epoch's rows and steps, dealt out to the ranks that train together.

Axis letters: R ranks, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """What one rank reads in an epoch, in how many steps of how many rows."""

    files: tuple[str, ...]  # URLs
    steps: tuple[int, ...]  # rows of each; as many steps as every other rank has
    every: int = 1  # of the files' rows every so many-th is read,
    first: int = 0  # this one first

    @property
    def rows(self) -> int:
        return sum(self.steps)


def shards(files: Sequence[str], file_rows: Sequence[int], batch_size: int, ranks: int = 1) -> list[Shard]:
    """Each row to one rank, each rank as many steps; batch_size: rows of a step of all ranks together.

    Whole files are dealt out where that comes out even to less than a rank's part of a step, as it does with the row
    groups that `build_training_examples` plans. Otherwise every rank reads all files, and takes every R-th row.
    Raises ValueError for fewer rows of a batch than ranks.
    """
    if not 1 <= ranks <= batch_size:
        raise ValueError(f"a batch of {batch_size} rows wants 1 to {batch_size} ranks, got {ranks}")
    part = batch_size // ranks
    dealt = _dealt(file_rows, ranks)
    of_ranks = [sum(file_rows[number] for number in numbers) for numbers in dealt]
    if max(of_ranks) - min(of_ranks) < part:
        steps = step_rows(of_ranks, part)
        chosen = [tuple(files[number] for number in numbers) for numbers in dealt]
        return [Shard(names, tuple(mine)) for names, mine in zip(chosen, steps, strict=True)]
    rows = sum(file_rows)
    of_ranks = [(rows - rank + ranks - 1) // ranks for rank in range(ranks)]
    steps = step_rows(of_ranks, part)
    return [Shard(tuple(files), tuple(mine), ranks, rank) for rank, mine in enumerate(steps)]


def _dealt(file_rows: Sequence[int], ranks: int) -> list[list[int]]:
    """The numbers of each rank's files: the largest first, each to the rank that has the fewest rows."""
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    held = [0] * ranks
    for number in sorted(range(len(file_rows)), key=lambda number: (-file_rows[number], number)):
        rank = min(range(ranks), key=lambda rank: (held[rank], rank))
        dealt[rank].append(number)
        held[rank] += file_rows[number]
    return [sorted(numbers) for numbers in dealt]


def step_rows(of_ranks: Sequence[int], part: int) -> list[list[int]]:
    """[R][S]: steps of `part` rows a rank, the last two taking what remains.

    of_ranks: each rank's rows, which differ by less than `part`. A single row of all ranks together joins the step
    before it: alone it would have no negatives.
    """
    count = max(-(-max(of_ranks) // part), 1)
    steps = []
    for rows in of_ranks:
        rest = rows - part * max(count - 2, 0)
        if count == 1:
            steps.append([rows])
        elif len(of_ranks) == 1 or rest > part:
            steps.append([part] * (count - 1) + [rest - part])
        else:  # another rank has more, and this one takes part in its last step
            steps.append([part] * (count - 2) + [rest - rest // 2, rest // 2])
    if count > 1 and sum(mine[-1] for mine in steps) == 1 < part * len(of_ranks):
        steps = [[*mine[:-2], mine[-2] + mine[-1]] for mine in steps]
    return steps
