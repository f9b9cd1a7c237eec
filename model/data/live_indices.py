"""Which ids and categories have a row of their own in a model's embedding tables: those that are in use.

Axes: B rows of a file, I indices of the item vocabulary, L length of a list feature, V live indices, W indices of a
vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from model.data.held_back import USER_INDEX, held_back
from model.data.item_tables import EPOCH_DAY, ITEM_INDEX
from model.data.parquet_files import read_file
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec, ModelSpec, columns
from model.features.tensors import arrays
from model.vocabulary import FIRST_INDEX

ITEMS = "item_id"  # the vocabulary of items, which an example has in the column of ITEM_INDEX


@dataclass(frozen=True)
class TrainedRows:
    """Examples without the rows of the users whom training leaves out; see `held_back` for share and salt."""

    pinned: PinnedFiles
    held_back_share: float = 0.0
    salt: int = 0

    def read(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """The columns of the trained rows, a table for each file."""
        for file in self.pinned.files:
            if not self.held_back_share:
                yield read_file(file, names)
                continue
            rows = read_file(file, [*dict.fromkeys([*names, USER_INDEX.column])])
            users = torch.tensor(arrays(rows, [USER_INDEX])[USER_INDEX.name], dtype=torch.int64)
            yield rows.filter(pa.array(~held_back(users, self.held_back_share, self.salt).numpy()))


class Occurrences:
    """How often each index of a vocabulary occurs in examples, and whether it does in recent ones."""

    def __init__(self, size: int) -> None:
        self.counts = np.zeros(size, dtype=np.int32)  # [W]
        self.recent = np.zeros(size, dtype=bool)  # [W]

    def add(self, feature: FeatureSpec, indices: np.ndarray, recent: np.ndarray) -> None:
        """Count indices [B] or [B, L]; recent [B]: whether an example is. Raises ValueError for an index from W on."""
        if indices.size and indices.max() >= len(self.counts):
            raise ValueError(
                f"{feature.name} of the examples must be indices below {len(self.counts)}, got {indices.max()}"
            )
        np.add.at(self.counts, indices.ravel(), 1)
        self.recent[indices[recent].ravel()] = True


def live_indices(
    examples: Sequence[TrainedRows],
    items: PinnedFiles,
    available_items: Tensor,
    model: ModelSpec,
    min_examples: int,
    first_recent_day: int,
) -> dict[str, Tensor]:
    """The live indices of each vocabulary that also has others: int32 [V], ascending, PADDING and UNKNOWN included.

    examples: of the window. An index is live if at least `min_examples` trained rows have it, and one of these is
    of `first_recent_day` (days since 1970-01-01; 0: any day) or later. An available item needs no recent
    example; without shrinkage of item ids it needs none at all. A category of items, whose snapshot is `items`,
    is live if an item has it that is available or live.
    Raises ValueError for an index that is not below the size of its vocabulary.
    """
    of_users = [feature for feature in model.user if feature.vocabulary not in (None, ITEMS)]
    available = np.zeros(model.vocabulary_sizes[ITEMS], dtype=bool)  # [I]
    available[available_items.cpu().numpy()] = True
    found = _occurrences(examples, [*of_users, ITEM_INDEX], model, first_recent_day)
    live = {name: (of.counts >= min_examples) & of.recent for name, of in found.items()}  # [W] each
    live[ITEMS] = (found[ITEMS].counts >= min_examples) & (found[ITEMS].recent | available)
    if not model.item_id_shrinkage:
        live[ITEMS] |= available
    live |= _categories_of_items(items, live[ITEMS] | available, model)
    for mask in live.values():
        mask[:FIRST_INDEX] = True
    used = {feature.vocabulary for feature in (*model.user, *model.item)}
    return {
        name: torch.from_numpy(np.flatnonzero(mask).astype(np.int32))
        for name, mask in sorted(live.items())
        if name in used and not mask.all()
    }


def example_columns(model: ModelSpec, first_recent_day: int) -> list[str]:
    """The columns of the examples that `live_indices` reads."""
    features = [feature for feature in model.user if feature.vocabulary not in (None, ITEMS)]
    return columns([*features, ITEM_INDEX, *([EPOCH_DAY] if first_recent_day else [])])


def _occurrences(
    examples: Sequence[TrainedRows], features: Sequence[FeatureSpec], model: ModelSpec, first_recent_day: int
) -> dict[str, Occurrences]:
    """The occurrences in columns of the examples, by vocabulary."""
    found = {name: Occurrences(model.vocabulary_sizes[name]) for name in _vocabularies(features)}
    names = example_columns(model, first_recent_day)
    for rows in (rows for part in examples for rows in part.read(names)):
        recent = np.ones(rows.num_rows, dtype=bool)  # [B]
        if first_recent_day:
            recent = arrays(rows, [EPOCH_DAY])[EPOCH_DAY.name] >= first_recent_day
        for feature in features:
            assert feature.vocabulary is not None
            found[feature.vocabulary].add(feature, arrays(rows, [feature])[feature.name], recent)
    return found


def _categories_of_items(items: PinnedFiles, chosen: np.ndarray, model: ModelSpec) -> dict[str, np.ndarray]:
    """Which categories the chosen items have, bool [W] by vocabulary. chosen: bool [I]."""
    features = [feature for feature in model.item if not feature.is_id and feature.vocabulary not in (None, ITEMS)]
    live = {name: np.zeros(model.vocabulary_sizes[name], dtype=bool) for name in _vocabularies(features)}
    for file in items.files if features else ():
        rows = read_file(file, columns([*features, ITEM_INDEX]))
        read = arrays(rows, [*features, ITEM_INDEX])
        is_chosen = chosen[read[ITEM_INDEX.name]]  # [B]
        for feature in features:
            assert feature.vocabulary is not None
            live[feature.vocabulary][read[feature.name][is_chosen].ravel()] = True
    return live


def _vocabularies(features: Iterable[FeatureSpec]) -> set[str]:
    return {feature.vocabulary for feature in features if feature.vocabulary is not None}
