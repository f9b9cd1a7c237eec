"""Begin where an earlier model version ended: its weights, and rows of their own for what is new since.

Axes: V rows of a table, D embedding size.
"""

from __future__ import annotations

from pathlib import Path

import torch

from model.artifacts.model_version import load_model, load_row_sums
from model.features import ModelSpec
from model.towers import TwoTowers
from model.training.optimizers import RowWiseAdagrad


def start_from(folder: Path, towers: TwoTowers, optimizer: RowWiseAdagrad) -> None:
    """Copy an older version's weights, and its optimiser's sums, into towers that may have longer tables.

    A vocabulary only grows, and an index stays whose it was; rows beyond the older ones keep their start.
    Raises ModelCorrupt for a folder that is not whole, and ValueError where the older model is of another shape.
    """
    older, _ = load_model(folder)
    require_fit(older.spec, towers.spec, folder)
    sums = load_row_sums(folder)
    before = dict(older.named_parameters())
    with torch.no_grad():
        for name, weights in towers.named_parameters():
            known = before[name]
            weights[: len(known)].copy_(known)
            if name in sums:
                optimizer.state[weights]["sum"][: len(known)].copy_(sums[name])


def require_fit(older: ModelSpec, newer: ModelSpec, folder: Path) -> None:
    """Raises ValueError unless the newer model is the older one with longer vocabularies, at most."""
    names = ("user", "item", "embedding_dim", "hidden", "share_item_table")
    other = [name for name in names if getattr(older, name) != getattr(newer, name)]
    shrunk = [name for name, size in newer.vocabulary_sizes.items() if size < older.vocabulary_sizes.get(name, 0)]
    if other or shrunk:
        faults = [f"other {name}" for name in other] + [f"a longer vocabulary {name}" for name in shrunk]
        raise ValueError(
            f"the model in {folder} cannot be gone on from, it has {', '.join(faults)}: "
            'train anew with training.start = "scratch"'
        )
