"""Build the configured indexes over one set of vectors, and measure the recall and the speed of each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from jobs.config.sections import Index
from jobs.inference.references import part_name
from model.metrics import shared_share
from model.search.approximate_index import ApproximateIndex
from model.search.backends import BACKENDS
from model.search.exact_index import ExactIndex
from model.search.item_index import ItemIndex
from model.search.sharded_index import build_in_shards
from model.search.tuning import RecallNotReached, Sample, tune
from model.training.processes.lines import warn


@dataclass(frozen=True)
class Vectors:
    """embeddings float32 [I, D] and indices int64 [I] of items, of one model version.

    folder: where files can be written that an index reads until it is saved.
    """

    embeddings: np.ndarray
    item_indices: np.ndarray
    model_version: str
    folder: Path


@dataclass
class Measurement:
    """A row of item_indexes without `ds`, `model_version` and `folder`; None where nothing could be measured."""

    backend: str
    items: int
    sampled_users: int
    k: int
    is_chosen: bool = False
    search_budget: int | None = None  # None for an exact index
    recall: float | None = None
    users_per_second: float | None = None
    build_seconds: float = 0.0


@dataclass(frozen=True)
class ExactResults:
    """The exact index, how long it took to build, and its search of N sampled users: items found [N, K] and speed."""

    index: ExactIndex
    build_seconds: float
    found: np.ndarray
    queries_per_second: float


def build_indexes(settings: Index, vectors: Vectors, sample: Sample, folder: Path) -> list[Measurement]:
    """Save each configured index that reaches `recall_target` under `folder`; returns the measurements.

    One of them is marked as chosen. Prints a warning for each index that does not reach the recall. Raises
    RecallNotReached if no index remains that may be searched.
    """
    measurements, misses = [], []
    with threadpool_limits(limits=1):  # a scoring task may have only one core
        exact = _exact_results(vectors, sample)
        for backend in settings.build_backends:
            try:
                index, measurement = _build_and_measure(settings, backend, vectors, sample, exact)
            except RecallNotReached as error:
                misses.append(error)
                continue
            index.save(folder / part_name(backend))
            measurements.append(measurement)
    _choose(measurements, misses, settings.backend)
    for miss in misses:
        warn(f"{miss}; it was not stored")
    return measurements


def build_explore_index(settings: Index, vectors: Vectors, sample: Sample, backend: str) -> ItemIndex:
    """An index of the items to explore: of the given backend, or exact if that does not reach the recall here."""
    with threadpool_limits(limits=1):
        exact = _exact_results(vectors, sample)
        if not len(sample) or not len(exact.index):
            return exact.index
        try:
            return _build_and_measure(settings, backend, vectors, sample, exact)[0]
        except RecallNotReached:
            return exact.index


def _exact_results(vectors: Vectors, sample: Sample) -> ExactResults:
    began = time.perf_counter()
    index = ExactIndex.build(vectors.embeddings, vectors.item_indices, model_version=vectors.model_version)
    seconds = time.perf_counter() - began
    found, queries_per_second = sample.search(index) if len(sample) else (np.empty((0, sample.k)), 0.0)
    return ExactResults(index, seconds, found, queries_per_second)


def _build_and_measure(
    settings: Index, backend: str, vectors: Vectors, sample: Sample, exact: ExactResults
) -> tuple[ItemIndex, Measurement]:
    """An index, tuned if it is approximate, and its measurement. Raises RecallNotReached."""
    kind = BACKENDS.get(backend)
    index: ItemIndex = exact.index
    seconds, recall, speed = exact.build_seconds, 1.0, exact.queries_per_second
    if kind is not ExactIndex:
        began = time.perf_counter()
        index = _built(settings, backend, kind, vectors)
        seconds = time.perf_counter() - began
        if len(sample):
            index, recall, speed = _tuned(index, exact.found, sample, settings.recall_target)
    measurement = Measurement(backend, len(index), len(sample), sample.k, build_seconds=seconds)
    measurement.search_budget = index.search_budget if isinstance(index, ApproximateIndex) else None
    if len(sample):
        measurement.recall, measurement.users_per_second = recall, speed
    return index, measurement


def _built(settings: Index, backend: str, kind: type[ItemIndex], vectors: Vectors) -> ItemIndex:
    """An index of a backend with its configured options: in shards if it is approximate and has too many items."""
    options = {**kind.configured_options(settings.model_dump()), **settings.options.get(backend, {})}
    embeddings, item_indices, version = vectors.embeddings, vectors.item_indices, vectors.model_version
    if issubclass(kind, ApproximateIndex) and 0 < settings.shard_items < len(item_indices):
        shards = Path(tempfile.mkdtemp(prefix="shards-", dir=vectors.folder))
        return build_in_shards(
            kind, embeddings, item_indices, shards, settings.shard_items, model_version=version, **options
        )
    return kind.build(embeddings, item_indices, model_version=version, **options)


def _tuned(index: ItemIndex, exact: np.ndarray, sample: Sample, min_recall: float) -> tuple[ItemIndex, float, float]:
    """(index, recall, queries per second); an approximate index gets a search budget that reaches the recall.

    Raises RecallNotReached.
    """
    if isinstance(index, ApproximateIndex):
        return tune(index, exact, sample, min_recall)
    found, queries_per_second = sample.search(index)
    recall = shared_share(found, exact)
    if recall < min_recall:
        raise RecallNotReached(
            f"index {index.backend} finds {recall:.4f} of the exact lists; index.recall_target is {min_recall}"
        )
    return index, recall, queries_per_second


def _choose(measurements: Sequence[Measurement], misses: Sequence[RecallNotReached], backend: str) -> None:
    """Mark the index to search: the configured one, or the fastest for "auto".

    Raises RecallNotReached if no such index reached the recall.
    """
    eligible = [row for row in measurements if backend in ("auto", row.backend)]
    if not eligible:
        raise RecallNotReached("; ".join(map(str, misses)))
    max(eligible, key=lambda row: row.users_per_second or 0).is_chosen = True
