"""The search benchmark takes the vectors of a lake's newest model."""

from __future__ import annotations

import numpy as np

from benchmarks.serving.search import trained_vectors
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS


def test_the_vectors_are_those_of_the_newest_day(simulated: Lake) -> None:
    items, queries = trained_vectors(simulated.uri, 50)
    shown = simulated.day(tables.ITEM_EMBEDDINGS, DAYS[2]).where("available").select("embedding").collect()
    assert sorted(items.tolist()) == sorted(row.embedding for row in shown)
    warm = simulated.day(tables.USER_EMBEDDINGS, DAYS[2]).where("not is_cold")
    users = {tuple(row.embedding) for row in warm.select("embedding").collect()}
    assert len(queries) == 50
    assert users >= set(map(tuple, queries.tolist()))
    assert queries.dtype == np.float32
