"""Indexes that are built and measured on a sample of users, from the package and from outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.config.loading import Config
from jobs.config.sections import Index
from jobs.inference.index_building import vectors
from jobs.inference.index_measurement import Measurement, build_explore_index, build_indexes
from jobs.inference.references import part_name
from model.search.backends import load_index
from model.search.item_index import ItemIndex
from model.search.tuning import RecallNotReached, Sample
from tests.extensions.my_index import SignBuckets
from tests.model.search.catalogues import catalogue, unit

VECTORS, ITEMS = catalogue(n_items=400)
MINE = "tests.extensions.my_index:SignBuckets"
SAMPLE = Sample(unit(np.random.default_rng(3), 50), None, 10)


def embedded(explored: int) -> pa.Table:
    """Rows of item_embeddings; the first `explored` ones are items to explore."""
    by_features = [row.tolist() if number < explored else None for number, row in enumerate(VECTORS)]
    kind = pa.list_(pa.float32())
    columns = {"embedding": pa.array(VECTORS.tolist(), kind), "feature_embedding": pa.array(by_features, kind)}
    return pa.table({"item_index": ITEMS, **columns})


def explore_index(config: Config, rows: pa.Table, backend: str) -> ItemIndex:
    return build_explore_index(config.index, vectors(rows, "feature_embedding", "v"), SAMPLE, backend)


def test_without_items_to_explore_nothing_is_found(config: Config) -> None:
    index = explore_index(config, embedded(0), "ivf")
    found, _ = index.search(SAMPLE.queries, 5)
    assert (found == -1).all()


def test_the_explore_index_is_of_the_chosen_backend_and_reaches_the_recall(config: Config) -> None:
    rows = embedded(300)
    exact, index = (explore_index(config, rows, backend) for backend in ("exact", "ivf"))
    assert (exact.backend, index.backend) == ("exact", "ivf")
    wanted, found = (one.search(SAMPLE.queries, 10)[0] for one in (exact, index))
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(wanted.tolist(), found.tolist(), strict=True)])
    assert shared >= config.index.recall_target
    assert set(found.ravel().tolist()) <= set(ITEMS[:300].tolist())


def measured(config: Config, folder: Path, backend: str, *built: str, **changes: object) -> list[Measurement]:
    settings = Index.model_validate(
        {**config.index.model_dump(), "backend": backend, "build_backends": built, **changes}
    )
    return build_indexes(settings, vectors(embedded(0), "embedding", "v"), SAMPLE, folder)


def test_an_index_from_outside_the_package_is_built_measured_and_chosen(config: Config, tmp_path: Path) -> None:
    exact, mine = measured(config, tmp_path, MINE, "exact", MINE, options={MINE: {"bits": 3}})
    assert (exact.backend, mine.backend) == ("exact", MINE)
    assert (exact.is_chosen, mine.is_chosen) == (False, True)
    assert (exact.recall, mine.recall) == (1.0, 1.0)
    assert (mine.items, mine.sampled_users, mine.k, mine.search_budget) == (400, 50, 10, None)
    assert mine.users_per_second is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact", "tests.extensions.my_index.SignBuckets"]
    index = load_index(tmp_path / part_name(MINE), "v", [MINE])
    assert isinstance(index, SignBuckets)
    assert index.bits == 3


def test_an_index_from_outside_the_package_that_claims_to_be_exact_is_measured_too(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = SignBuckets.__init__

    def one_bucket(self: SignBuckets, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.buckets = self.buckets[:1]

    monkeypatch.setattr(SignBuckets, "__init__", one_bucket)
    with pytest.raises(RecallNotReached, match=r"SignBuckets finds 0\.\d+ of the exact lists; index.recall_target is"):
        measured(config, tmp_path, MINE, MINE)
    (exact,) = measured(config, tmp_path, "auto", "exact", MINE)
    assert (exact.backend, exact.is_chosen) == ("exact", True)
    assert "SignBuckets finds" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["exact"]


def test_options_of_a_backend_come_from_the_configuration(config: Config, tmp_path: Path) -> None:
    measured(
        config, tmp_path, "auto", "exact", "annoy", "ivf", annoy_trees=7, ivf_lists=9, options={"ivf": {"seed": 5}}
    )
    annoy, ivf = (load_index(tmp_path / backend) for backend in ("annoy", "ivf"))
    assert annoy.stored_options()["n_trees"] == 7
    assert (ivf.stored_options()["lists"], ivf.stored_options()["seed"]) == (9, 5)
