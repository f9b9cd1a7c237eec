"""The least search_budget that reaches a recall."""

from __future__ import annotations

import numpy as np
import pytest

from model.search.indexes import ApproximateIndex, recall_against_exact
from model.search.tuning import RecallNotReached, Sample, tuned
from tests.model.search.catalogues import build, catalogue, unit

EMBEDDINGS, ITEMS = catalogue()
SAMPLE = Sample(unit(np.random.default_rng(3), 60), None, 20)


@pytest.mark.parametrize(("backend", "options"), [("annoy", {"n_trees": 5}), ("ivf", {"lists": 40})])
def test_less_effort_would_fall_short(backend: str, options: dict[str, int]) -> None:
    exact, index = build("exact", EMBEDDINGS, ITEMS), build(backend, EMBEDDINGS, ITEMS, **options)
    assert isinstance(index, ApproximateIndex)
    wanted, _ = SAMPLE.search(exact)
    found, recall, speed = tuned(index, wanted, SAMPLE, 0.9)
    assert recall == recall_against_exact(found, exact, SAMPLE.queries, SAMPLE.k) >= 0.9
    less = index.with_search_budget(found.search_budget * 3 // 4, fills=False)
    assert recall_against_exact(less, exact, SAMPLE.queries, SAMPLE.k) < 0.9
    assert speed > 0
    assert index.search_budget != found.search_budget


def test_a_recall_that_no_effort_reaches_is_an_error_that_names_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, index = build("exact", EMBEDDINGS, ITEMS), build("ivf", EMBEDDINGS, ITEMS, lists=40)
    wanted, _ = SAMPLE.search(exact)
    assert isinstance(index, ApproximateIndex)
    monkeypatch.setattr(type(index), "max_search_budget", property(lambda _: 3))
    best = recall_against_exact(index.with_search_budget(3, fills=False), exact, SAMPLE.queries, SAMPLE.k)
    assert best < 0.9
    message = rf"index ivf finds {best:.4f} of the exact lists at best \(probes 3\); index.recall_target is 0.9"
    with pytest.raises(RecallNotReached, match=message):
        tuned(index, wanted, SAMPLE, 0.9)
