"""The smallest search budget that reaches a recall."""

from __future__ import annotations

import numpy as np
import pytest

from model.search.approximate_index import ApproximateIndex
from model.search.tuning import RecallNotReached, Sample, tune
from tests.model.search.catalogues import build, catalogue, recall_against_exact, unit

EMBEDDINGS, ITEMS = catalogue()
SAMPLE = Sample(unit(np.random.default_rng(3), 60), None, 20)


@pytest.mark.parametrize(("backend", "options"), [("annoy", {"n_trees": 5}), ("ivf", {"lists": 40})])
def test_a_smaller_search_budget_misses_the_recall(backend: str, options: dict[str, int]) -> None:
    exact, index = build("exact", EMBEDDINGS, ITEMS), build(backend, EMBEDDINGS, ITEMS, **options)
    assert isinstance(index, ApproximateIndex)
    wanted, _ = SAMPLE.search(exact)
    found, recall, speed = tune(index, wanted, SAMPLE, 0.9)
    assert recall == recall_against_exact(found, exact, SAMPLE.queries, SAMPLE.k) >= 0.9
    less = index.with_search_budget(found.search_budget * 3 // 4, completes_rows=False)
    assert recall_against_exact(less, exact, SAMPLE.queries, SAMPLE.k) < 0.9
    assert speed > 0
    assert index.search_budget != found.search_budget


def test_a_recall_out_of_reach_is_an_error_with_the_best_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, index = build("exact", EMBEDDINGS, ITEMS), build("ivf", EMBEDDINGS, ITEMS, lists=40)
    wanted, _ = SAMPLE.search(exact)
    assert isinstance(index, ApproximateIndex)
    monkeypatch.setattr(type(index), "max_search_budget", property(lambda _: 3))
    best = recall_against_exact(index.with_search_budget(3, completes_rows=False), exact, SAMPLE.queries, SAMPLE.k)
    assert best < 0.9
    message = rf"index ivf finds at most {best:.4f} of the exact lists \(probes 3\); index.recall_target is 0.9"
    with pytest.raises(RecallNotReached, match=message):
        tune(index, wanted, SAMPLE, 0.9)
