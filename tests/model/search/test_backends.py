"""Index backends by name, built in or from outside the package; a name in a folder is never imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifacts.formats import IndexCorrupt, VersionMismatch
from model.search.backends import BACKENDS, build_index, load_index
from model.search.exact_index import ExactIndex
from model.search.sharded_index import IN_SHARDS
from tests.extensions.my_index import BUCKETS, SignBuckets
from tests.model.search.catalogues import BACKENDS as BUILT_IN
from tests.model.search.catalogues import N_ITEMS, brute_force, build, catalogue, some_exclusions, unit
from tests.model.search.index_damages import drop, link, rewrite, signed, truncate

MINE = "tests.extensions.my_index:SignBuckets"


def mine(**options: Any) -> SignBuckets:
    index = build_index(MINE, *catalogue(), model_version="v1", **options)
    assert isinstance(index, SignBuckets)
    return index


def test_the_tests_know_every_built_in_backend() -> None:
    whole = [name for name in BUILT_IN if not name.endswith(IN_SHARDS)]
    assert sorted(whole) == sorted(BACKENDS.built_in)
    assert all(BACKENDS.get(name).backend == name for name in whole)


@pytest.mark.parametrize("k", [10, N_ITEMS + 5])
def test_an_index_from_outside_the_package_searches(k: int) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(1), 20)
    excluded = some_exclusions(items, queries, embeddings, 40)
    found, scores = mine().search(queries, k, excluded)
    expected, expected_scores = brute_force(embeddings, items, queries, k, excluded)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_an_index_from_outside_the_package_is_saved_and_loaded_with_its_options(tmp_path: Path) -> None:
    queries = unit(np.random.default_rng(2), 20)
    mine(bits=5).save(tmp_path / "index")
    loaded = load_index(tmp_path / "index", "v1", [MINE])
    assert isinstance(loaded, SignBuckets)
    assert (loaded.backend, loaded.bits) == (MINE, 5)
    for ours, theirs in zip(mine().search(queries, 15), loaded.search(queries, 15), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(VersionMismatch):
        load_index(tmp_path / "index", "v2", [MINE])


@pytest.mark.parametrize(
    "damage",
    [
        drop(BUCKETS),
        link(BUCKETS),
        truncate(BUCKETS, 40),
        signed(truncate(BUCKETS, 40)),
        signed(lambda folder: (folder / BUCKETS).write_text("[]")),
        lambda folder: rewrite(folder, options={"bits": 99}),
        lambda folder: rewrite(folder, options={"bytes": 1}),
    ],
)
def test_a_damaged_folder_of_an_index_from_outside_the_package_is_refused(damage: Any, tmp_path: Path) -> None:
    mine().save(tmp_path / "index")
    damage(tmp_path / "index")
    with pytest.raises(IndexCorrupt):
        load_index(tmp_path / "index", "v1", [MINE])


def test_a_backend_that_the_caller_does_not_name_is_refused(tmp_path: Path) -> None:
    mine().save(tmp_path / "mine")
    build("exact", *catalogue()).save(tmp_path / "exact")
    with pytest.raises(IndexCorrupt, match=r"one of the backends \['exact', 'annoy', 'ivf'\], got 'tests.extensions"):
        load_index(tmp_path / "mine")
    with pytest.raises(IndexCorrupt, match="got 'exact'"):
        load_index(tmp_path / "exact", "v1", [MINE])
    assert isinstance(load_index(tmp_path / "exact", "v1", [MINE, "exact"]), ExactIndex)


def test_what_a_folder_names_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "imported"
    (tmp_path / "trap.py").write_text(f"open({str(trace)!r}, 'w')\nfrom tests.extensions.my_index import SignBuckets\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine().save(tmp_path / "index")
    rewrite(tmp_path / "index", backend="trap:SignBuckets")
    for backends in ([MINE], list(BACKENDS.built_in)):
        with pytest.raises(IndexCorrupt, match="got 'trap:SignBuckets'"):
            load_index(tmp_path / "index", "v1", backends)
    assert "trap" not in sys.modules
    assert not trace.exists()
    BACKENDS.get("trap:SignBuckets")
    assert trace.exists()  # the trap does work


def test_a_class_can_be_named_by_the_module_that_exports_it(tmp_path: Path) -> None:
    """The manifest stores the module that defines the class, the configuration may name another one."""
    mine().save(tmp_path / "index")
    assert isinstance(
        load_index(tmp_path / "index", "v1", ["tests.model.search.test_backends:SignBuckets"]), SignBuckets
    )
    assert json.loads((tmp_path / "index" / "index.json").read_text())["backend"] == MINE


def test_a_class_that_is_no_index_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a subclass of model.search.item_index:ItemIndex"):
        build_index("collections:OrderedDict", *catalogue(), model_version="v1")


def test_names_are_checked_without_importing_numeric_libraries() -> None:
    libraries = "{'torch', 'faiss', 'annoy', 'numpy'}"
    script = f"import sys; from model.search.backends import BACKENDS; BACKENDS.checked_name('ivf'); assert not {libraries} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
