"""Sequences of items as prepared folders: validation asks for each user's last item but one, test for the last.

Each folder trains on all earlier items of every user, in their order, and ranks the whole corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.worlds.click_log import DIM, HISTORY, ClickLog, neighbours_feature, write
from model.features import FeatureSpec

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "sequences"


@dataclass(frozen=True)
class Sequences:
    """A file of sequences. is_history_excluded: whether lists leave out the items of the user's history."""

    file: str
    is_history_excluded: bool
    user: tuple[FeatureSpec, ...] = (HISTORY,)  # features of users

    def prepare(self, folder: Path, source: Path = FOLDER, neighbours: int = 0) -> tuple[Path, Path]:
        """The prepared folders (validation, test) under `folder`, written by the first call.

        neighbours: of each item, so many that users clicked with it are a feature of the item; 0: no such feature.
        """
        sequences = read(source / self.file)
        n_items = 1 + max(int(items.max()) for items in sequences)
        ending = f"_{neighbours}_neighbours" if neighbours else ""
        return (
            write(folder / f"validation{ending}", self._log([items[:-1] for items in sequences], n_items, neighbours)),
            write(folder / f"test{ending}", self._log(sequences, n_items, neighbours)),
        )

    def _log(self, sequences: list[np.ndarray], n_items: int, neighbours: int) -> ClickLog:
        """The last item of each sequence is relevant, the others are trained on."""
        clicked = [items[:-1] for items in sequences]
        users, items = mixed(clicked)
        features = {}
        if neighbours:
            feature, nearest = neighbours_feature(clicked, n_items, neighbours, DIM)
            features[feature] = nearest
        relevant = [items[-1:] for items in sequences]
        shown = np.zeros(n_items, dtype=np.int64)
        return ClickLog(users, items, shown, relevant, features, self.user, self.is_history_excluded)


SETS = {
    "toys": Sequences("Toys_and_Games.txt", is_history_excluded=True),
    "yelp": Sequences("Yelp.txt", is_history_excluded=False),  # users return to places
}


def read(file: Path) -> list[np.ndarray]:
    """Each user's items in order, numbered from 0. Raises ValueError for a user with fewer than three."""
    lines = [np.array(line.split(), dtype=np.int64) for line in file.read_text("ascii").splitlines()]
    short = [int(line[0]) for line in lines if len(line) < 4]
    if short:
        raise ValueError(f"users of {file} must have at least 3 items, got fewer for user {short[0]}")
    return [line[1:] - 1 for line in lines]


def mixed(sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Users and items [N] of all sequences in a random order in which each user's items stay in theirs."""
    lengths = [len(items) for items in sequences]
    users = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sequences)), lengths))
    items = np.empty(len(users), dtype=np.int64)
    items[np.argsort(users, kind="stable")] = np.concatenate(sequences)
    return users, items


def write_tiny_source(folder: Path) -> None:
    """Write both files with 12 users and 20 items."""
    random = np.random.default_rng(0)
    lines = [" ".join(map(str, [user + 1, *(random.permutation(20)[:6] + 1)])) for user in range(12)]
    for sequences in SETS.values():
        (folder / sequences.file).write_text("\n".join(lines) + "\n", "ascii")
