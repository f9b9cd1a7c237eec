"""A warm start: training continues from the weights of an older model version.

Axes: N rows that two tables have in common.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from model.artifacts.model_version import load_model, load_row_sums
from model.features import ModelSpec
from model.towers import TwoTowers
from model.towers.table_rows import common_rows
from model.training.optimizers import RowWiseAdagrad

COPIED_AT_ONCE = 1_000_000  # rows


def start_from(folder: Path, towers: TwoTowers, optimizer: RowWiseAdagrad) -> None:
    """Copy an older version's weights and optimiser state into `towers`, whose tables may have other rows.

    An index of a vocabulary means the same id for ever, so a row gets the weights that its index had. Rows of indices
    without a row in the older version keep their initial weights.
    Raises ModelCorrupt for a damaged folder, and ValueError unless the older model has the same shape.
    """
    older, _ = load_model(folder)
    require_same_shape(older.spec, towers.spec, folder)
    sums = load_row_sums(folder)
    before = dict(older.named_parameters())
    older_indices, indices = older.indices_of_tables(), towers.indices_of_tables()
    with torch.no_grad():
        for name, weights in towers.named_parameters():
            if name not in indices:
                weights.copy_(_same_shape(before[name], weights, name))
                if name in sums:  # a table without a row for each index, such as that of hashed ids
                    optimizer.state[weights]["sum"].copy_(sums[name])
                continue
            rows, older_rows = common_rows(indices[name].cpu(), older_indices[name])
            copy_rows(before[name], older_rows, weights, rows)
            if name in sums:
                copy_rows(sums[name], older_rows, optimizer.state[weights]["sum"], rows)


def _same_shape(before: Tensor, weights: Tensor, name: str) -> Tensor:
    """The older weights. Raises ValueError for another shape, as of a table that `TableRows` does not know."""
    if before.shape != weights.shape:
        raise ValueError(
            f"{name} must have the shape {tuple(before.shape)} of the older model for a warm start, got "
            f"{tuple(weights.shape)}; weights with a row for each index must be an nn.Embedding or nn.EmbeddingBag"
        )
    return before


def copy_rows(source: Tensor, source_rows: Tensor, target: Tensor, rows: Tensor) -> None:
    """target[rows] = source[source_rows], in parts, so that no copy of a large table is made. rows [N] each."""
    for part, source_part in zip(rows.split(COPIED_AT_ONCE), source_rows.split(COPIED_AT_ONCE), strict=True):
        target[part.to(target.device)] = source[source_part].to(target.device)


def require_same_shape(older: ModelSpec, newer: ModelSpec, folder: Path) -> None:
    """Raises ValueError if the models differ in anything except that the newer one's vocabularies may be longer."""
    names = ("user", "item", "embedding_dim", "hidden", "share_item_table", "user_encoder", "item_id_shrinkage")
    changed = [name for name in names if getattr(older, name) != getattr(newer, name)]
    shrunk = [name for name, size in newer.vocabulary_sizes.items() if size < older.vocabulary_sizes.get(name, 0)]
    if older.interests != newer.interests:
        changed.append(f"number of interests ({older.interests}, not {newer.interests})")
    if changed or shrunk:
        faults = [f"another {name}" for name in changed] + [f"a longer vocabulary {name}" for name in shrunk]
        raise ValueError(
            f"training cannot continue from the model in {folder}, which has {', '.join(faults)}: "
            'train from scratch with training.start = "scratch"'
        )
