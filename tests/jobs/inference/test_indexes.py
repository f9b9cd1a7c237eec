"""The index of the items to explore."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jobs.config.loading import Config
from jobs.inference.index_building import vectors
from jobs.inference.index_measurement import build_explore_index
from model.search.item_index import ItemIndex
from model.search.tuning import Sample
from tests.model.search.catalogues import catalogue, unit

VECTORS, ITEMS = catalogue(n_items=400)
SAMPLE = Sample(unit(np.random.default_rng(3), 50), None, 10)


def embedded(explored: int) -> pa.Table:
    """Rows of item_embeddings, of which the first ones are explored."""
    by_features = [row.tolist() if number < explored else None for number, row in enumerate(VECTORS)]
    kind = pa.list_(pa.float32())
    columns = {"embedding": pa.array(VECTORS.tolist(), kind), "feature_embedding": pa.array(by_features, kind)}
    return pa.table({"item_index": ITEMS, **columns})


def explore_index(config: Config, rows: pa.Table, backend: str) -> ItemIndex:
    return build_explore_index(config.index, vectors(rows, "feature_embedding", "v"), SAMPLE, backend)


def test_with_nothing_to_explore_nothing_is_found(config: Config) -> None:
    index = explore_index(config, embedded(0), "ivf")
    found, _ = index.search(SAMPLE.queries, 5)
    assert (found == -1).all()


def test_it_is_of_the_chosen_backend_and_reaches_the_target(config: Config) -> None:
    rows = embedded(300)
    exact, index = (explore_index(config, rows, backend) for backend in ("exact", "ivf"))
    assert (exact.backend, index.backend) == ("exact", "ivf")
    wanted, found = (one.search(SAMPLE.queries, 10)[0] for one in (exact, index))
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(wanted.tolist(), found.tolist(), strict=True)])
    assert shared >= config.index.recall_target
    assert set(found.ravel().tolist()) <= set(ITEMS[:300].tolist())
