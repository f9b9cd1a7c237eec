"""User and item embeddings, computed by the towers.

Axis letters: B rows of a batch, D embedding size, Q interests of a user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import torch
from pyspark import TaskContext

from jobs.workers.batches import Batches, MapBatches, batches_with_rows
from jobs.workers.folders import local_folder
from jobs.workers.references import ModelReference
from model.artifacts.model_version import load_model
from model.features.tensors import aged, tensors
from model.towers import TwoTowers
from model.vocabulary import UNKNOWN

ITEM_ID = "item_id"  # the feature whose embedding is not trained for items without a click


@cache
def open_towers(ref: ModelReference) -> TwoTowers:
    """The verified towers, cached for the life of the worker, with as many threads as a task has cores."""
    task = TaskContext.get()
    torch.set_num_threads(task.cpus() if task else 1)
    return load_model(local_folder(ref.model_folder), ref.version)[0]


def user_embedder(ref: ModelReference, copied: Sequence[str]) -> MapBatches:
    """A function that adds `embedding` to the copied columns of users."""

    def embed(batches: Batches) -> Iterator[pa.RecordBatch]:
        towers = open_towers(ref)
        for batch in batches_with_rows(batches):
            with torch.no_grad():
                vectors = towers.user(tensors(batch, towers.spec.user)).flatten(1).numpy()  # [B, Q D]
            yield _with_columns(batch, copied, embedding=list_array(vectors))

    return embed


def item_embedder(ref: ModelReference, copied: Sequence[str], day: int) -> MapBatches:
    """A function that adds `embedding` and `feature_embedding` to the copied columns of items.

    day: days since 1970-01-01; the ages of items are those at its start.
    """

    def embed(batches: Batches) -> Iterator[pa.RecordBatch]:
        towers = open_towers(ref)
        for batch in batches_with_rows(batches):
            inputs = aged(tensors(batch, towers.spec.item), towers.spec.item, day)
            explored = batch.column("explored").to_numpy(zero_copy_only=False)  # [B]
            with torch.no_grad():
                vectors = towers.item(inputs).numpy()  # [B, D]
                by_features = towers.item(_without_ids(inputs, explored)).numpy()  # [explored, D]
            made = {"embedding": list_array(vectors), "feature_embedding": list_array(by_features, explored)}
            yield _with_columns(batch, copied, **made)

    return embed


def _without_ids(inputs: Mapping[str, torch.Tensor], explored: np.ndarray) -> dict[str, torch.Tensor]:
    """The inputs of the items to explore, with out-of-vocabulary item ids. explored: mask, bool [B]."""
    inputs = {name: values[torch.from_numpy(explored.copy())] for name, values in inputs.items()}
    return {name: torch.full_like(values, UNKNOWN) if name == ITEM_ID else values for name, values in inputs.items()}


def list_array(vectors: np.ndarray, mask: np.ndarray | None = None) -> pa.ListArray:
    """Vectors [V, D] as a list column of the V rows for which `mask` bool [B] is true; the other rows are null."""
    size = vectors.shape[1]
    mask = np.ones(len(vectors), dtype=bool) if mask is None else mask
    ends = np.concatenate([[0], np.cumsum(mask) * size]).astype(np.int32)
    nulls = np.append(~mask, False) if not mask.all() else None  # a null offset makes its row null
    offsets = pa.array(ends, mask=nulls)
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))


def _with_columns(batch: pa.RecordBatch, copied: Sequence[str], **made: pa.Array) -> pa.RecordBatch:
    """The copied columns of a batch, and the new ones."""
    return pa.RecordBatch.from_arrays([*(batch.column(name) for name in copied), *made.values()], [*copied, *made])
