"""Users in, candidate lists out: what runs in the Python workers of the executors.

Axis letters: B users of a batch, D embedding size, K candidates, I indices of the item vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame

from jobs.common import tables
from jobs.common.models import ModelReference, batches_with_rows, open_index, open_towers
from model.features import columns, tensors

TWO_TOWER, POPULAR = 0, 1
SOURCES = ("two_tower", "popular")


def candidates(users: DataFrame, ref: ModelReference, k: int) -> DataFrame:
    """Rows (user_id, candidates) in the order of `users`: at most `k` each, best first, ranks from 1."""
    names = ["user_id", "excluded", "is_cold", *columns(open_towers(ref).spec.user)]

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches_with_rows(batches):
            lists = _lists(*_search(batch, ref, k), open_index(ref)[1]["item_id"].combine_chunks())
            yield pa.RecordBatch.from_arrays([batch.column("user_id"), lists], ["user_id", "candidates"])

    schema = f"user_id string, candidates {tables.CANDIDATES.schema['candidates'].dataType.simpleString()}"
    return users.select(*dict.fromkeys(names)).mapInArrow(score, schema)


def _search(batch: pa.RecordBatch, ref: ModelReference, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item indices [B, K] (-1 where a list is shorter), scores [B, K] and sources [B] for a batch of users."""
    towers, (index, _) = open_towers(ref), open_index(ref)
    excluded = batch.column("excluded")
    offsets = excluded.offsets.to_numpy().astype(np.int64)
    flat = excluded.flatten().to_numpy().astype(np.int64)
    with torch.no_grad():
        queries = towers.user(tensors(batch, towers.spec.user)).numpy()  # [B, D]
    found, scores = index.search(queries, k, (flat, offsets - offsets[0]))  # [B, K], [B, K]
    cold = batch.column("is_cold").to_numpy(zero_copy_only=False)  # [B]
    popular, shares = _popular(ref, k)
    found[cold], scores[cold] = popular, shares
    return found, scores, np.where(cold, POPULAR, TWO_TOWER)


@cache
def _popular(ref: ModelReference, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k available items with the largest share of clicks [K], and the shares [K]; -1 and -inf at the end."""
    items = open_index(ref)[1]
    q = np.where(items["available"].to_numpy(), items["q"].to_numpy(), -np.inf)  # [I]
    best = np.argsort(-q, kind="stable")[:k]
    best = best[np.isfinite(q[best])]
    missing = k - len(best)
    return np.pad(best, (0, missing), constant_values=-1), np.pad(q[best], (0, missing), constant_values=-np.inf)


def _lists(found: np.ndarray, scores: np.ndarray, sources: np.ndarray, item_ids: pa.Array) -> pa.ListArray:
    there = found >= 0  # [B, K]; true up to a row's length
    lengths = there.sum(axis=1)  # [B]
    structs = pa.StructArray.from_arrays(
        [
            item_ids.take(pa.array(found[there])),
            pa.array(scores[there].astype(np.float32)),
            pa.array((np.cumsum(there, axis=1)[there]).astype(np.int32)),
            pa.array(SOURCES).take(pa.array(np.repeat(sources, lengths))),
        ],
        names=["item_id", "score", "rank", "source"],
    )
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)), structs)
