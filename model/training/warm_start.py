"""A warm start: training continues from the weights of an older model version.

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
    """Copy an older version's weights and optimiser state into `towers`, whose tables may have more rows.

    Vocabularies only grow and never reassign an index, so a row means the same value in both versions. Rows of new
    values keep their initial weights.
    Raises ModelCorrupt for a damaged folder, and ValueError unless the older model has the same shape.
    """
    older, _ = load_model(folder)
    require_same_shape(older.spec, towers.spec, folder)
    sums = load_row_sums(folder)
    before = dict(older.named_parameters())
    with torch.no_grad():
        for name, weights in towers.named_parameters():
            known = before[name]
            weights[: len(known)].copy_(known)
            if name in sums:
                optimizer.state[weights]["sum"][: len(known)].copy_(sums[name])


def require_same_shape(older: ModelSpec, newer: ModelSpec, folder: Path) -> None:
    """Raises ValueError if the models differ in anything except that the newer one's vocabularies may be longer."""
    names = ("user", "item", "embedding_dim", "hidden", "share_item_table", "user_encoder", "item_id_shrinkage")
    changed = [name for name in names if getattr(older, name) != getattr(newer, name)]
    shrunk = [name for name, size in newer.vocabulary_sizes.items() if size < older.vocabulary_sizes.get(name, 0)]
    if changed or shrunk:
        faults = [f"another {name}" for name in changed] + [f"a longer vocabulary {name}" for name in shrunk]
        raise ValueError(
            f"training cannot continue from the model in {folder}, which has {', '.join(faults)}: "
            'train from scratch with training.start = "scratch"'
        )
