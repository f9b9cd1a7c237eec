"""Whether the embedding tables fit into the memory of a trainer, before they are made.

A table of V rows and F values takes 4 V (F + 1) bytes: float32 weights, and one sum of the optimiser for each row.
Where not every index of a vocabulary has a row, the live indices and the map from indices to rows are in memory, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from model.features import ModelSpec
from model.towers.table_rows import row_map_bytes
from model.vocabulary import FIRST_INDEX

GB = 10**9
CGROUP = Path("/sys/fs/cgroup")  # of the container, if there is one


@dataclass(frozen=True)
class TableSize:
    """The rows and columns of one embedding table, named after the feature that has it."""

    feature: str
    rows: int
    dim: int

    @property
    def bytes(self) -> int:
        """Of its weights and of the optimiser's sums."""
        return 4 * self.rows * (self.dim + 1)

    def __str__(self) -> str:
        return f"{self.feature} {self.rows:,} rows x {self.dim} values = {gigabytes(self.bytes)}"


def gigabytes(size: float) -> str:
    """Bytes in GB; small ones with as many digits as tell them apart."""
    return f"{size / GB:,.2f} GB" if size >= GB / 10 else f"{size / GB:.3g} GB"


def table_sizes(model: ModelSpec) -> list[TableSize]:
    """The tables of a model, the largest first; lists of items that share the table of item_id have none."""
    sizes = []
    for side in (model.user, model.item):
        for feature in side:
            is_shared = model.share_item_table and side is model.user and feature.kind == "item_list"
            if feature.vocabulary is None or is_shared:
                continue
            own = feature.buckets + FIRST_INDEX if feature.is_hashed else model.table_sizes[feature.vocabulary]
            sizes.append(TableSize(feature.name, own, feature.dim))
    return sorted(sizes, key=lambda size: -size.bytes)


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU; otherwise that of the machine, or of the container, for each of its ranks."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (CGROUP / "memory.max").read_text(), (CGROUP / "memory.current").read_text()
        free = min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or no limit: "max"
        pass
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def require_tables_fit(model: ModelSpec, device: torch.device, max_gb: float) -> None:
    """Raises ValueError, with the size of each table, if the tables take more memory than there is.

    max_gb: `training.max_table_gb`; 0: what is free on a GPU, and half of what is free on the machine, because a warm
    start reads the older tables beside the new ones, and saving a model copies its weights once.
    """
    sizes = table_sizes(model)
    maps = sum(row_map_bytes(rows, model.vocabulary_sizes[name]) for name, rows in model.table_rows.items())
    wanted = sum(size.bytes for size in sizes) + maps
    half = 1 if device.type == "cuda" else 2
    limit = max_gb * GB if max_gb else free_bytes(device) / half
    if wanted <= limit:
        return
    free = f"that are free on {device}" if half == 1 else "that are half of the free memory"
    source = "of training.max_table_gb" if max_gb else free
    parts = [*map(str, sizes[:3]), *([f"which index has which row {gigabytes(maps)}"] if maps else [])]
    is_hashed = any(feature.is_hashed for feature in model.user)
    advice = "Give user_id fewer buckets" if is_hashed else "Give user_id the kind hashed_id"
    raise ValueError(
        f"the embedding tables must fit into the {gigabytes(limit)} {source}, "
        f"got {gigabytes(wanted)}: {'; '.join(parts)}. {advice}, raise "
        "model.min_id_examples, or leave out user_id (docs/cluster.md#user-ids-that-do-not-fit)"
    )
