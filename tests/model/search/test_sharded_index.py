"""An index in shards, beyond what all backends are tested for: its folder, its memory, its speed."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifacts.formats import IndexCorrupt
from model.search.backends import load_index
from model.search.ivf_index import IvfIndex
from model.search.sharded_index import ShardedIndex, shard_edges
from model.search.tuning import Sample, tune
from tests.model.search.catalogues import SHARD_ITEMS, brute_force, build, catalogue, recall_against_exact, unit
from tests.model.search.index_damages import flip, rewrite, sign

EMBEDDINGS, ITEMS = catalogue()
QUERIES = unit(np.random.default_rng(5), 40)
NOTHING = np.empty(0, dtype=np.int64), np.zeros(len(QUERIES) + 1, dtype=np.int64)


def sharded(**options: int) -> ShardedIndex:
    index = build("ivf in shards", EMBEDDINGS, ITEMS, **options)
    assert isinstance(index, ShardedIndex)
    return index


def test_shards_are_of_equal_size_and_hold_all_items() -> None:
    assert shard_edges(10, 3) == [0, 3, 6, 10]
    files = sharded().files
    sizes = [len(files.open(number)) for number in range(files.count)]
    assert (sum(sizes), max(sizes) - min(sizes)) == (len(ITEMS), 1)
    assert max(sizes) <= SHARD_ITEMS


def test_a_forest_in_shards_finds_the_exact_lists() -> None:
    found, scores = build("annoy in shards", EMBEDDINGS, ITEMS, search_k=100_000).search(QUERIES, 50)
    expected, expected_scores = brute_force(EMBEDDINGS, ITEMS, QUERIES, 50, NOTHING)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_the_search_budget_is_tuned_for_all_shards_together() -> None:
    exact, sample = build("exact", EMBEDDINGS, ITEMS), Sample(QUERIES, None, 20)
    index, recall, _ = tune(sharded(lists=12), sample.search(exact)[0], sample, 0.9)
    assert recall == pytest.approx(recall_against_exact(index, exact, QUERIES, 20))
    assert recall >= 0.9
    assert 1 < index.search_budget < 12
    smaller = index.with_search_budget(index.search_budget - 1, completes_rows=False)
    assert recall_against_exact(smaller, exact, QUERIES, 20) < 0.9


def test_one_shard_is_in_memory_while_an_index_is_built_and_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    shards: list[weakref.ref[IvfIndex]] = []
    make = IvfIndex.__init__

    def note(self: IvfIndex, *args: Any) -> None:
        assert all(shard() is None for shard in shards)
        shards.append(weakref.ref(self))
        make(self, *args)

    monkeypatch.setattr(IvfIndex, "__init__", note)
    sample = Sample(QUERIES, None, 20)
    index = sharded(lists=12)
    tune(index, sample.search(build("exact", EMBEDDINGS, ITEMS))[0], sample, 0.9)
    assert len(shards) > 3 * index.files.count


def test_opening_shards_is_no_part_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    index, now = sharded(), 0.0

    def slowly(number: int) -> IvfIndex:
        nonlocal now
        now += 10.0
        return index.files.open(number)  # type: ignore[return-value]

    index.open_shard = slowly
    monkeypatch.setattr("model.search.sharded_index.time.perf_counter", lambda: now)
    _, users_per_second = Sample(QUERIES, None, 20).search(index)
    assert index.seconds_opening == 10.0 * index.files.count
    assert users_per_second > 1e9


def test_a_loaded_index_can_be_saved_again_and_has_its_shards_open(tmp_path: Path) -> None:
    sharded().save(tmp_path / "one")
    loaded = load_index(tmp_path / "one", "v1", ["ivf"])
    loaded.save(tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    again = load_index(tmp_path / "two")
    np.testing.assert_array_equal(loaded.search(QUERIES, 20)[0], again.search(QUERIES, 20)[0])


def test_a_folder_in_shards_is_opened_only_as_its_own_backend(tmp_path: Path) -> None:
    sharded().save(tmp_path / "index")
    with pytest.raises(IndexCorrupt, match=r"must be an index of one of the backends \['exact', 'annoy'\]"):
        load_index(tmp_path / "index", "v1", ["exact", "annoy"])
    rewrite(tmp_path / "index", backend="exact in shards")
    with pytest.raises(IndexCorrupt, match="got 'exact in shards'"):
        load_index(tmp_path / "index")


def of_options(value: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        options = json.loads((folder / "index.json").read_text())["options"]
        rewrite(folder, options={**options, "shards": value})

    return damage


def linked(folder: Path) -> None:
    (folder / "shard-00001").rename(folder.parent / "elsewhere")
    (folder / "shard-00001").symlink_to(folder.parent / "elsewhere")


def exchanged(folder: Path) -> None:
    """Two shards of different sizes, with checksums that match."""
    first, last = (folder / name for name in ("shard-00000", "shard-00001"))
    first.rename(folder / "other")
    last.rename(first)
    (folder / "other").rename(last)
    sign(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip("shard-00001/lists.npy"), "shard-00001/lists.npy must match the manifest"),
        (lambda folder: (folder / "shard-00002/centroids.npy").unlink(), "must be a regular file"),
        (linked, "must be in a folder, got a symbolic link"),
        (of_options(7), "must list the files"),
        (of_options("8"), "shards must be a whole number from 1 to 700, got '8'"),
        (of_options(0), "shards must be a whole number from 1 to 700, got 0"),
        (of_options(10**12), "shards must be a whole number from 1 to 700"),
        (exchanged, r"lists.npy must be int32 \(8[78],\)"),
    ],
    ids=["changed", "missing", "linked", "fewer", "a text", "none", "too many", "exchanged"],
)
def test_a_damaged_shard_is_refused(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    sharded().save(tmp_path / "index")
    damage(tmp_path / "index")
    with pytest.raises(IndexCorrupt, match=message):
        load_index(tmp_path / "index", "v1")
