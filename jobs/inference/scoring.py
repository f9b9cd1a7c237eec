"""Users' vectors in, candidate lists out: what runs in the Python workers of the executors. No torch is needed there.

Axis letters: B users of a batch, D embedding size, K candidates, I indices of the item vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.inference.references import IndexReference, batches_with_rows
from jobs.lake import tables
from jobs.lake.files import local_folder
from model.artifacts.index_files import check_files, read_manifest
from model.ragged import of_lists
from model.search.candidate_lists import SOURCES, CandidateLists, Popular, Quotas
from model.search.channels import Cap
from model.search.indexes import VersionMismatch, load_index

ITEMS_FILE, POPULAR_FILE = "items.parquet", "popular.parquet"
LISTED_AT_ONCE = 1 << 18  # candidates that a worker makes at a time: each weighs some 100 bytes on its way to Arrow
KEPT, KEPT_AT = "kept", "kept_scored_at"  # a list of an earlier day that is to stand, or null


@dataclass(frozen=True)
class Plan:
    """What a list is to hold."""

    quotas: Quotas
    category: str
    max_per_category: int

    @classmethod
    def of(cls, config: Config) -> Plan:
        scoring = config.scoring
        quotas = Quotas(scoring.candidates_per_user, scoring.popular_quota, scoring.explore_quota)
        return cls(quotas, scoring.category_feature, scoring.max_per_category)


def candidates(users: DataFrame, ref: IndexReference, plan: Plan) -> DataFrame:
    """Rows (user_id, candidates, scored_at) in the order of `users`, best candidate first, ranks from 1.

    users: user_id, embedding, excluded, is_cold, segment, and `kept`, a list that stands if all its items are still
    there, with the time at which it was scored. scored_at is that time, or null for a list that is made here.
    """
    names = ["user_id", "embedding", "excluded", "is_cold", "segment", KEPT, KEPT_AT]

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches_with_rows(batches):
            for start in range(0, batch.num_rows, at_once):
                part = batch.slice(start, at_once)
                found, stands = _lists(part, ref, plan)
                scored_at = pc.if_else(pa.array(stands), part.column(KEPT_AT), None)
                yield pa.RecordBatch.from_arrays([part.column("user_id"), found, scored_at], made.names)

    at_once = max(LISTED_AT_ONCE // plan.quotas.k, 1)
    made = tables.CANDIDATES.pick("user_id", "candidates", "scored_at")
    return users.select(names).mapInArrow(score, made)


@dataclass(frozen=True)
class Opened:
    """The channels, the item_ids by item_index, and those that are available."""

    lists: CandidateLists
    item_ids: pa.Array
    offered: pa.Array


@cache
def open_lists(ref: IndexReference, plan: Plan) -> Opened:
    """What `read_lists` gives, kept for as long as the worker lives: folders have names by their content."""
    return read_lists(ref, plan)


def read_lists(ref: IndexReference, plan: Plan) -> Opened:
    """What a worker searches, with as many threads as a task has cores.

    Raises IndexCorrupt where a file is not what it should be, VersionMismatch where it is another model version's, and
    ValueError where the index knows other categories than the plan.
    """
    task = TaskContext.get()
    faiss.omp_set_num_threads(task.cpus() if task else 1)
    items, popular = _read_items(ref, plan)
    index = load_index(local_folder(ref.index), ref.version)
    explore = load_index(local_folder(ref.explore), ref.version) if ref.explore else None
    cap = Cap(items["category"].to_numpy().astype(np.int64), plan.max_per_category) if plan.max_per_category else None
    segments, indices, shares = (popular[name].to_numpy() for name in ("segment", "item_index", "share"))
    lists = Popular(segments.astype(np.int64), indices.astype(np.int64), shares.astype(np.float32))
    offered = items.filter(pc.field("available"))["item_id"]
    channels = CandidateLists(index, lists, plan.quotas, explore, cap)
    return Opened(channels, items["item_id"].combine_chunks(), offered.combine_chunks())


def _read_items(ref: IndexReference, plan: Plan) -> list[pa.Table]:
    """What is known of the items, by item_index, and what is popular."""
    folder, names = local_folder(ref.items), (ITEMS_FILE, POPULAR_FILE)
    manifest = read_manifest(folder)
    if (got := manifest["model_version"]) != ref.version:
        raise VersionMismatch(f"{ref.items} lists the items of model version {got!r}, wanted {ref.version!r}")
    if (got := manifest["options"]["category"]) != plan.category:
        why = f"wants scoring.category_feature {plan.category!r}, and the index was built with {got!r}"
        raise ValueError(f"{ref.items}: {why}: run build_item_index again")
    check_files(folder, manifest, set(names))
    return [pq.read_table(folder / name) for name in names]


def _lists(batch: pa.RecordBatch, ref: IndexReference, plan: Plan) -> tuple[pa.ListArray, np.ndarray]:
    """The candidates of a batch of users, and which of them stood already: bool [B]."""
    opened = open_lists(ref, plan)
    stands = _stands(batch.column(KEPT), opened.offered)  # [B]
    rest = batch.filter(pa.array(~stands)) if stands.any() else batch
    if rest.num_rows:
        vectors = rest.column("embedding").flatten().to_numpy().reshape(rest.num_rows, -1)  # [B, D]
        excluded = of_lists(rest.column("excluded"))
        cold = rest.column("is_cold").to_numpy(zero_copy_only=False)  # [B]
        segments = rest.column("segment").to_numpy().astype(np.int64)  # [B]
        made = _as_lists(*opened.lists.of(vectors, excluded, cold, segments), opened.item_ids)
    if not stands.any():
        return made, stands
    old = batch.column(KEPT).filter(pa.array(stands))
    old = old.cast(made.type) if rest.num_rows else old
    both = pa.concat_arrays([old, made]) if rest.num_rows else old
    order = np.where(stands, np.cumsum(stands) - 1, stands.sum() + np.cumsum(~stands) - 1)
    return both.take(pa.array(order)), stands


def _stands(kept: pa.ListArray, offered: pa.Array) -> np.ndarray:
    """Which lists are there, with items that are all offered still: bool [B]."""
    there = kept.is_valid().to_numpy(zero_copy_only=False)
    if not there.any():
        return there
    gone = ~pc.is_in(kept.flatten().field("item_id"), value_set=offered).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.flatnonzero(there), pc.list_value_length(kept.filter(kept.is_valid())).to_numpy())
    return there & (np.bincount(rows[gone], minlength=len(there)) == 0)


def _as_lists(found: np.ndarray, scores: np.ndarray, sources: np.ndarray, item_ids: pa.Array) -> pa.ListArray:
    there = found >= 0  # [B, K]; true up to a row's length
    structs = pa.StructArray.from_arrays(
        [
            item_ids.take(pa.array(found[there])),
            pa.array(scores[there].astype(np.float32)),
            pa.array((np.cumsum(there, axis=1)[there]).astype(np.int32)),
            pa.array(SOURCES).take(pa.array(sources[there])),
        ],
        names=["item_id", "score", "rank", "source"],
    )
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)), structs
    )
