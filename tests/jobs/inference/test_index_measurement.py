"""Indexes that are built and measured on a sample of users, from the package and from outside it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config.loading import Config
from jobs.config.sections import Index
from jobs.inference.index_building import build_parts, vectors
from jobs.inference.index_measurement import Measurement, build_explore_index, build_indexes
from jobs.inference.references import part_name
from model.metrics import shared_share
from model.search.backends import load_index
from model.search.exact_index import ExactIndex
from model.search.item_index import ItemIndex
from model.search.ivf_index import IvfIndex
from model.search.sharded_index import ShardedIndex
from model.search.tuning import RecallNotReached, Sample
from tests.extensions.my_index import SignBuckets
from tests.model.search.catalogues import catalogue, unit

VECTORS, ITEMS = catalogue(n_items=400)
MINE = "tests.extensions.my_index:SignBuckets"
SAMPLE = Sample(unit(np.random.default_rng(3), 50), None, 10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the indexes are saved."""
    (tmp_path / "indexes").mkdir()
    return tmp_path / "indexes"


def embedded(folder: Path, explored: int) -> list[str]:
    """A file of item_embeddings; its first `explored` rows are items to explore."""
    by_features = [row.tolist() if number < explored else None for number, row in enumerate(VECTORS)]
    kind = pa.list_(pa.float32())
    columns = {"embedding": pa.array(VECTORS.tolist(), kind), "feature_embedding": pa.array(by_features, kind)}
    path = folder.parent / "item_embeddings.parquet"
    pq.write_table(pa.table({"item_index": ITEMS, "available": [True] * len(ITEMS), **columns}), path)
    return [path.as_uri()]


def explore_index(config: Config, files: list[str], backend: str, work: Path) -> ItemIndex:
    return build_explore_index(config.index, vectors(files, "feature_embedding", "v", work), SAMPLE, backend)


def test_without_items_to_explore_nothing_is_found(config: Config, folder: Path) -> None:
    index = explore_index(config, embedded(folder, 0), "ivf", folder / "work")
    found, _ = index.search(SAMPLE.queries, 5)
    assert (found == -1).all()


def test_the_explore_index_is_of_the_chosen_backend_and_reaches_the_recall(config: Config, folder: Path) -> None:
    files = embedded(folder, 300)
    exact, index = (explore_index(config, files, backend, folder / backend) for backend in ("exact", "ivf"))
    assert (exact.backend, index.backend) == ("exact", "ivf")
    wanted, found = (one.search(SAMPLE.queries, 10)[0] for one in (exact, index))
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(wanted.tolist(), found.tolist(), strict=True)])
    assert shared >= config.index.recall_target
    assert set(found.ravel().tolist()) <= set(ITEMS[:300].tolist())


def measured(config: Config, folder: Path, backend: str, *built: str, **changes: object) -> list[Measurement]:
    settings = Index.model_validate(
        {**config.index.model_dump(), "backend": backend, "build_backends": built, **changes}
    )
    items = vectors(embedded(folder, 0), "embedding", "v", Path(tempfile.mkdtemp(dir=folder.parent)) / "work")
    return build_indexes(settings, items, SAMPLE, folder)


def test_an_index_from_outside_the_package_is_built_measured_and_chosen(config: Config, folder: Path) -> None:
    exact, mine = measured(config, folder, MINE, "exact", MINE, options={MINE: {"bits": 3}})
    assert (exact.backend, mine.backend) == ("exact", MINE)
    assert (exact.is_chosen, mine.is_chosen) == (False, True)
    assert (exact.recall, mine.recall) == (1.0, 1.0)
    assert (mine.items, mine.sampled_users, mine.k, mine.search_budget) == (400, 50, 10, None)
    assert mine.users_per_second is not None
    assert sorted(path.name for path in folder.iterdir()) == ["exact", "tests.extensions.my_index.SignBuckets"]
    index = load_index(folder / part_name(MINE), "v", [MINE])
    assert isinstance(index, SignBuckets)
    assert index.bits == 3


def test_an_index_from_outside_the_package_that_claims_to_be_exact_is_measured_too(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = SignBuckets.__init__

    def one_bucket(self: SignBuckets, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.buckets = self.buckets[:1]

    monkeypatch.setattr(SignBuckets, "__init__", one_bucket)
    with pytest.raises(RecallNotReached, match=r"SignBuckets finds 0\.\d+ of the exact lists; index.recall_target is"):
        measured(config, folder, MINE, MINE)
    (exact,) = measured(config, folder, "auto", "exact", MINE)
    assert (exact.backend, exact.is_chosen) == ("exact", True)
    assert "SignBuckets finds" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["exact"]


def test_options_of_a_backend_come_from_the_configuration(config: Config, folder: Path) -> None:
    measured(config, folder, "auto", "exact", "annoy", "ivf", annoy_trees=7, ivf_lists=9, options={"ivf": {"seed": 5}})
    annoy, ivf = (load_index(folder / backend) for backend in ("annoy", "ivf"))
    assert annoy.stored_options()["n_trees"] == 7
    assert (ivf.stored_options()["lists"], ivf.stored_options()["seed"]) == (9, 5)


def test_an_index_of_many_items_is_built_in_shards_and_reaches_the_recall(config: Config, folder: Path) -> None:
    built = measured(config, folder, "ivf", "exact", "ivf", MINE, shard_items=150, ivf_lists=9)
    exact, ivf, mine = (load_index(folder / part_name(row.backend), "v", [row.backend]) for row in built)
    assert isinstance(ivf, ShardedIndex)
    assert (ivf.files.count, ivf.stored_options()["lists"], len(ivf)) == (3, 9, 400)
    assert [type(exact), type(mine)] == [ExactIndex, SignBuckets]  # nothing says how to put them together
    row = next(row for row in built if row.backend == "ivf")
    assert (row.is_chosen, row.search_budget, row.items) == (True, ivf.search_budget, 400)
    assert row.recall == pytest.approx(shared_share(SAMPLE.search(ivf)[0], SAMPLE.search(exact)[0]))
    assert row.recall >= config.index.recall_target


@pytest.mark.parametrize("shard_items", [0, 400])
def test_an_index_of_few_items_has_no_shards(config: Config, folder: Path, shard_items: int) -> None:
    measured(config, folder, "ivf", "ivf", shard_items=shard_items)
    assert type(load_index(folder / "ivf")) is IvfIndex


def test_the_explore_index_is_built_in_shards_too(config: Config, folder: Path) -> None:
    settings = Index.model_validate({**config.index.model_dump(), "shard_items": 100})
    explored = vectors(embedded(folder, 300), "feature_embedding", "v", folder / "work")
    index = build_explore_index(settings, explored, SAMPLE, "ivf")
    assert isinstance(index, ShardedIndex)
    assert (index.files.count, len(index)) == (3, 300)


def test_what_is_built_is_stored_and_what_was_read_is_deleted(config: Config, folder: Path) -> None:
    quota = config.scoring.model_copy(update={"explore_quota": 5})
    changed = config.model_copy(update={"scoring": quota})
    work = folder.parent / "work"
    rows = build_parts(changed, embedded(folder, 30), "v", SAMPLE, folder, work)
    assert {path.name for path in folder.iterdir()} == {"explore", *(row.backend for row in rows)}
    assert len(load_index(folder / "explore")) == 30
    assert not work.exists()
