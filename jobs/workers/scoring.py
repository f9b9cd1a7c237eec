"""Candidate lists from user embeddings, without torch.

Axis letters: B users of a batch, Q interests of a user, D embedding size, K candidates, I item indices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from jobs.workers.batches import Batches, MapBatches, batches_with_rows
from jobs.workers.folders import local_folder
from jobs.workers.item_details import read_item_details, read_neighbours
from jobs.workers.references import IndexReference
from model.features.ragged import of_lists
from model.search.backends import load_index
from model.search.exact_index import ExactIndex
from model.search.interests import queries_of
from model.search.lists import SOURCES
from model.search.lists.candidate_lists import CandidateLists, Lists, Quotas
from model.search.lists.channels import Cap
from model.search.lists.neighbours import item_neighbours
from model.search.lists.popular import PopularItems

CANDIDATES_AT_ONCE = 1 << 17  # candidates that a worker makes at a time; one takes about 230 bytes until it is written
REUSABLE, REUSABLE_SCORED_AT = "reusable_list", "reusable_scored_at"  # columns: a list of an earlier day, or null


@dataclass(frozen=True)
class ListPlan:
    """The length of a list, the quotas of its channels, its cap on categories, and by which score it is ordered.

    neighbours: `neighbours.clicks` and `neighbours.decay`.
    """

    quotas: Quotas
    category_feature: str
    max_per_category: int
    order_by_score: bool
    neighbours: tuple[int, float]


def list_maker(ref: IndexReference, plan: ListPlan, scored_at: dt.datetime, names: Sequence[str]) -> MapBatches:
    """A function that makes the lists of users; its columns are called `names`.

    scored_at: recorded for new lists; a list that is reused keeps its own.
    """
    at_once = max(CANDIDATES_AT_ONCE // plan.quotas.k, 1)

    def make(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches_with_rows(batches):
            for start in range(0, batch.num_rows, at_once):
                part = batch.slice(start, at_once)
                lists, reused = made_lists(part, open_scorer(ref, plan))
                times = part.column(REUSABLE_SCORED_AT)
                times = pc.if_else(pa.array(reused), times, pa.scalar(scored_at, times.type))
                versions = pa.repeat(ref.version, part.num_rows)
                yield pa.RecordBatch.from_arrays([part.column("user_id"), lists, versions, times], names)

    return make


@dataclass(frozen=True)
class Scorer:
    """candidate_lists makes the lists; item_ids [I] are by item_index; available: the item_ids that may be shown."""

    candidate_lists: CandidateLists
    item_ids: pa.Array
    available: pa.Array


@cache
def open_scorer(ref: IndexReference, plan: ListPlan) -> Scorer:
    """`read_scorer`, cached until the worker ends. A changed index has another folder name and is read again."""
    return read_scorer(ref, plan)


def read_scorer(ref: IndexReference, plan: ListPlan) -> Scorer:
    """The index and the details of its items, searched with as many threads as a task has cores.

    Raises IndexCorrupt if a file is damaged, VersionMismatch for another model version, and ValueError if the index was
    built with another category feature than the plan's.
    """
    task = TaskContext.get()
    faiss.omp_set_num_threads(task.cpus() if task else 1)
    items, popular = read_item_details(local_folder(ref.items_folder), ref.version, plan.category_feature)
    index = load_index(local_folder(ref.index_folder), ref.version, [ref.backend])
    backends = [ref.backend, ExactIndex.backend]  # exact if the chosen one did not reach the recall
    explore = load_index(local_folder(ref.explore_folder), ref.version, backends) if ref.explore_folder else None
    cap = Cap(items["category"].to_numpy().astype(np.int64), plan.max_per_category) if plan.max_per_category else None
    segments, indices, shares = (popular[name].to_numpy() for name in ("segment", "item_index", "share"))
    popular_items = PopularItems(segments.astype(np.int64), indices.astype(np.int64), shares.astype(np.float32))
    neighbours = None
    if ref.neighbours_folder:
        rows = read_neighbours(local_folder(ref.neighbours_folder), ref.version)
        neighbours = item_neighbours(rows, *plan.neighbours)
    candidate_lists = CandidateLists(
        index,
        popular_items,
        plan.quotas,
        explore,
        cap,
        ref.calibration,
        order_by_score=plan.order_by_score,
        neighbours=neighbours,
    )
    available = items.filter(pc.field("available"))["item_id"]
    return Scorer(candidate_lists, items["item_id"].combine_chunks(), available.combine_chunks())


def made_lists(batch: pa.RecordBatch, scorer: Scorer) -> tuple[pa.ListArray, np.ndarray]:
    """The lists of a batch of users, and which of them are reused: bool [B]."""
    reused = _reusable(batch.column(REUSABLE), scorer.available)  # [B]
    rest = batch.filter(pa.array(~reused)) if reused.any() else batch
    if rest.num_rows:
        vectors = rest.column("embedding").flatten().to_numpy().reshape(rest.num_rows, -1)  # [B, Q D]
        queries = queries_of(vectors, scorer.candidate_lists.index.dimension)
        excluded = of_lists(rest.column("excluded"))
        cold = rest.column("is_cold").to_numpy(zero_copy_only=False)  # [B]
        segments = rest.column("segment").to_numpy().astype(np.int64)  # [B]
        history = of_lists(rest.column("history")) if "history" in rest.schema.names else None
        lists = scorer.candidate_lists.lists_for(queries, excluded, cold, segments, history)
        made = _to_arrow(lists, scorer.item_ids)
    if not reused.any():
        return made, reused
    old = batch.column(REUSABLE).filter(pa.array(reused))
    old = old.cast(made.type) if rest.num_rows else old
    both = pa.concat_arrays([old, made]) if rest.num_rows else old
    rows = np.where(reused, np.cumsum(reused) - 1, reused.sum() + np.cumsum(~reused) - 1)
    return both.take(pa.array(rows)), reused


def _reusable(lists: pa.ListArray, available: pa.Array) -> np.ndarray:
    """Which lists are not null and contain only items that are still available: bool [B]."""
    valid = lists.is_valid().to_numpy(zero_copy_only=False)
    if not valid.any():
        return valid
    gone = ~pc.is_in(lists.flatten().field("item_id"), value_set=available).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.flatnonzero(valid), pc.list_value_length(lists.filter(lists.is_valid())).to_numpy())
    return valid & (np.bincount(rows[gone], minlength=len(valid)) == 0)


def _to_arrow(lists: Lists, item_ids: pa.Array) -> pa.ListArray:
    """The column `candidates` of B lists."""
    items, channel_scores, sources, scores = lists
    filled = items >= 0  # [B, K]; true up to a row's length
    structs = pa.StructArray.from_arrays(
        [
            item_ids.take(pa.array(items[filled])),
            pa.array(scores[filled]),
            pa.array((np.cumsum(filled, axis=1)[filled]).astype(np.int32)),
            pa.array(SOURCES).take(pa.array(sources[filled])),
            pa.array(channel_scores[filled]),
        ],
        names=["item_id", "score", "rank", "source", "channel_score"],
    )
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), structs)
