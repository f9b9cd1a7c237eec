"""Users and items through their towers: what runs in the Python workers of the executors.

Axis letters: B rows of a batch, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import torch
from pyspark import TaskContext
from pyspark.sql import DataFrame

from jobs.inference.references import ModelReference, batches_with_rows
from jobs.lake import tables
from jobs.lake.files import local_folder
from jobs.lake.tables import Table
from model.artifacts.model_version import load_model
from model.feature_tensors import tensors
from model.features import columns
from model.towers import TwoTowers
from model.vocabulary import UNKNOWN

OWN_ID = "item_id"


@cache
def open_towers(ref: ModelReference) -> TwoTowers:
    """The towers, verified and kept for as long as the worker lives; as many threads as a task has cores."""
    task = TaskContext.get()
    torch.set_num_threads(task.cpus() if task else 1)
    return load_model(local_folder(ref.model), ref.version)[0]


def user_embeddings(users: DataFrame, ref: ModelReference) -> DataFrame:
    """The columns of user_embeddings that need no more than `users`: features, is_cold, segment and scored_from."""
    kept = ["user_id", "is_cold", "segment", "scored_from"]

    def embed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        towers = open_towers(ref)
        for batch in batches_with_rows(batches):
            with torch.no_grad():
                vectors = towers.user(tensors(batch, towers.spec.user)).numpy()  # [B, D]
            yield _with_lists(batch, kept, embedding=lists(vectors))

    return _mapped(users, kept, columns(open_towers(ref).spec.user), embed, tables.USER_EMBEDDINGS, ["embedding"])


def item_embeddings(items: DataFrame, ref: ModelReference) -> DataFrame:
    """The columns of item_embeddings that need no more than `items`: features, available and explored.

    An item that is explored gets the vector of its features alone as well, as if its id were unknown.
    """
    kept = ["item_id", "item_index", "available"]

    def embed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        towers = open_towers(ref)
        for batch in batches_with_rows(batches):
            inputs = tensors(batch, towers.spec.item)
            explored = batch.column("explored").to_numpy(zero_copy_only=False)  # [B]
            with torch.no_grad():
                vectors = towers.item(inputs).numpy()  # [B, D]
                bare = {name: values[torch.from_numpy(explored.copy())] for name, values in inputs.items()}
                bare |= {name: torch.full_like(values, UNKNOWN) for name, values in bare.items() if name == OWN_ID}
                by_features = towers.item(bare).numpy()  # [explored, D]
            found = {"embedding": lists(vectors), "feature_embedding": lists(by_features, explored)}
            yield _with_lists(batch, kept, **found)

    inputs = [*columns(open_towers(ref).spec.item), "explored"]
    return _mapped(items, kept, inputs, embed, tables.ITEM_EMBEDDINGS, ["embedding", "feature_embedding"])


def lists(vectors: np.ndarray, there: np.ndarray | None = None) -> pa.ListArray:
    """Vectors [V, D] as a list column; where `there` bool [B] has V that are true, null in the other rows."""
    size = vectors.shape[1]
    there = np.ones(len(vectors), dtype=bool) if there is None else there
    ends = np.concatenate([[0], np.cumsum(there) * size]).astype(np.int32)
    mask = np.append(~there, False) if not there.all() else None  # an offset that is null makes its row null
    offsets = pa.array(ends, mask=mask)
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))


def _with_lists(batch: pa.RecordBatch, kept: Sequence[str], **found: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*(batch.column(name) for name in kept), *found.values()], [*kept, *found])


def _mapped(  # type: ignore[no-untyped-def]
    rows: DataFrame, kept: Sequence[str], inputs: Sequence[str], embed, table: Table, made: Sequence[str]
) -> DataFrame:
    names = dict.fromkeys([*kept, *inputs])
    return rows.select(*names).mapInArrow(embed, table.pick(*kept, *made))
