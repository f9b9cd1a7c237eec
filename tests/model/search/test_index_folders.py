"""Index folders that were damaged, swapped or truncated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annoy
import numpy as np
import pytest

from model.artifacts.formats import IndexCorrupt, VersionMismatch
from model.search.annoy_index import AnnoyOptions, check_trees, grow_trees
from model.search.backends import load_index
from model.search.exact_index import ExactIndex
from model.search.item_index import EMBEDDINGS, ITEM_INDICES
from tests.model.search.catalogues import BACKENDS, DIMENSION, N_ITEMS, build, catalogue, changed, unit
from tests.model.search.index_damages import (
    Bomb,
    array,
    drop,
    fields,
    flip,
    from_another,
    link,
    overwrite,
    pickled,
    rename_in_manifest,
    signed,
    text,
    truncate,
)

no_columns = array("embeddings.npy", np.empty((N_ITEMS, 0), np.float32))

EITHER: dict[str, Callable[[Path], None]] = {
    "no manifest": drop("index.json"),
    "no matrix": drop("embeddings.npy"),
    "no items": drop("item_indices.npy"),
    "no folder": shutil.rmtree,
    "short matrix": truncate("embeddings.npy", 5_000),
    "empty matrix": truncate("embeddings.npy", 0),
    "short items": truncate("item_indices.npy", 300),
    "short, signed matrix": signed(truncate("embeddings.npy", 5_000)),
    "empty, signed matrix": signed(truncate("embeddings.npy", 0)),
    "flipped bit in the matrix": flip("embeddings.npy"),
    "flipped bit in the items": flip("item_indices.npy"),
    "matrix of another index": from_another("embeddings.npy"),
    "items of another index": from_another("item_indices.npy"),
    "linked matrix": link("embeddings.npy"),
    "linked manifest": link("index.json"),
    "a folder for a file": lambda folder: (
        drop("embeddings.npy")(folder),
        (folder / "embeddings.npy").mkdir(),
    ),
    "name that leads out": rename_in_manifest("embeddings.npy", "../embeddings.npy"),
    "another name": rename_in_manifest("embeddings.npy", "matrix.npy"),
    "one file too few": fields(files={}),
    "files without facts": lambda folder: fields(
        files=dict.fromkeys([EMBEDDINGS, ITEM_INDICES, *load_index(folder).extra_files])
    )(folder),
    "wrong dimension": fields(dimension=8),
    "dimension 0": lambda folder: (no_columns(folder), fields(dimension=0)(folder)),
    "dimension as text": fields(dimension="16"),
    "a number that is true": fields(item_count=True),
    "wrong count": fields(item_count=N_ITEMS - 1),
    "another format": fields(format=2),
    "a field too many": fields(more=1),
    "unknown backend": fields(backend="faiss"),
    "wrong metric": fields(metric="euclidean"),
    "unknown option": fields(options={"leaves": 3}),
    "an option that is an argument": fields(options={"model_version": "v1"}),
    "no version": fields(model_version=""),
    "no JSON": text("index"),
    "half of JSON": text('{"format": 1, '),
    "a list": text("[1]"),
    "deep JSON": text("[" * 60_000),
    "long JSON": lambda folder: text((folder / "index.json").read_text() + " " * 70_000)(folder),
    "no text": text("\xff\xfe"),
    "pickle for a matrix": pickled("embeddings.npy"),
    "header that does not end": signed(overwrite("embeddings.npy", b"(700, 16), }", b"((((((((((((")),
    "header with a negative shape": signed(overwrite("embeddings.npy", b"(700, 16)", b"(-70, 16)")),
    "objects in an array": array("embeddings.npy", np.array([Bomb()] * N_ITEMS, dtype=object)),
    "float64 matrix": array("embeddings.npy", np.zeros((N_ITEMS, DIMENSION))),
    "matrix of another width": array("embeddings.npy", np.zeros((N_ITEMS, DIMENSION + 1), np.float32)),
    "NaN in the matrix": array("embeddings.npy", np.full((N_ITEMS, DIMENSION), np.nan, np.float32)),
    "items out of order": array("item_indices.npy", np.arange(N_ITEMS)[::-1].copy()),
    "an item twice": array("item_indices.npy", np.zeros(N_ITEMS, np.int64)),
    "an item below 0": array("item_indices.npy", np.arange(N_ITEMS) - 1),
    "items far apart": array("item_indices.npy", np.append(np.arange(N_ITEMS - 1), -(2**63))),
    "int32 items": array("item_indices.npy", np.arange(N_ITEMS, dtype=np.int32)),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {backend: tmp_path_factory.mktemp(backend) / "index" for backend in BACKENDS}
    for backend, folder in folders.items():
        build(backend, *catalogue()).save(folder)
    return folders


@pytest.fixture
def no_annoy_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if Annoy opens a file of a damaged folder."""

    class Guard(annoy.AnnoyIndex):
        def load(self, *_: Any, **__: Any) -> bool:
            raise AssertionError("Annoy was handed a file of a damaged folder")

    monkeypatch.setattr("model.search.annoy_index.annoy.AnnoyIndex", Guard)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", EITHER.values(), ids=list(EITHER))
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], Any],
    backend: str,
    whole: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "index"
    shutil.copytree(whole[backend], folder)
    load_index(folder)
    damage(folder)
    request.getfixturevalue("no_annoy_load")
    with pytest.raises(IndexCorrupt, match=r"must|missing|unexpected|multiple values"):
        load_index(folder)
    assert not (tmp_path / "exploded").exists()


def nodes_of(folder: Path) -> np.ndarray:
    return np.memmap(folder / "trees.ann", dtype=np.int32, mode="r+").reshape(-1, DIMENSION + 3)


def inner_node(nodes: np.ndarray) -> int:
    """The first node with two children."""
    return int(np.flatnonzero(nodes[:, 0] > DIMENSION + 2)[0])


def leaf(nodes: np.ndarray) -> int:
    """The last node that lists items."""
    return int(np.flatnonzero(nodes[:, 0] <= DIMENSION + 2)[-1])


def set_node(column: int, value: int, which: Callable[[np.ndarray], int] = inner_node) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        nodes = nodes_of(folder)
        nodes[which(nodes), column] = value

    return signed(damage)


TREES: dict[str, Callable[[Path], None]] = {
    "no trees": drop("trees.ann"),
    "short trees": truncate("trees.ann", 30_000),
    "empty trees": truncate("trees.ann", 0),
    "empty, signed trees": signed(truncate("trees.ann", 0)),
    "a byte short, signed": signed(lambda f: os.truncate(f / "trees.ann", (f / "trees.ann").stat().st_size - 1)),
    "items alone, signed": signed(truncate("trees.ann", N_ITEMS * 4 * (DIMENSION + 3))),
    "no roots, signed": signed(truncate("trees.ann", (N_ITEMS + 1) * 4 * (DIMENSION + 3))),
    "flipped bit in the trees": flip("trees.ann"),
    "trees of another index": from_another("trees.ann"),
    "trees of another index, signed": signed(from_another("trees.ann")),
    "linked trees": link("trees.ann"),
    "child beyond the end": set_node(1, 2**31 - 1),
    "child below 0": set_node(2, -5),
    "ring of nodes": set_node(1, N_ITEMS + 400),
    "more items than there are": set_node(0, 10**6, lambda nodes: -1),
    "an item that is a node": set_node(0, 5, lambda nodes: 3),
    "fewer than no items": set_node(0, -1),
    "leaf beyond the items": set_node(1, N_ITEMS, leaf),
    "pickle for trees": pickled("trees.ann"),
    "norms of 2": array("embeddings.npy", np.full((N_ITEMS, DIMENSION), 0.5, np.float32)),
    "no trees option": fields(options={"n_trees": 0, "search_k": 60, "seed": 1}),
    "text option": fields(options={"n_trees": 10, "search_k": "all", "seed": 1}),
    "the other backend": fields(backend="exact", metric="dot"),
}


@pytest.mark.parametrize("damage", TREES.values(), ids=list(TREES))
def test_damaged_trees_are_refused(
    damage: Callable[[Path], None],
    whole: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    test_a_damaged_folder_is_refused(damage, "annoy", whole, tmp_path, monkeypatch, request)


@pytest.mark.parametrize(("n_items", "dimension"), [(1, 4), (6, 4), (7, 4), (40_000, 2)])
def test_valid_trees_are_opened(n_items: int, dimension: int, tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(13), n_items, dimension)
    grow_trees(matrix, AnnoyOptions(n_trees=3, seed=5)).save(str(tmp_path / "trees.ann"))
    check_trees(tmp_path / "trees.ann", matrix)
    with pytest.raises(ValueError, match="items must be the embeddings"):
        check_trees(tmp_path / "trees.ann", changed(matrix, 1.0) if n_items > 3 else -matrix)


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_models_index_is_refused(backend: str, whole: dict[str, Path], no_annoy_load: None) -> None:
    with pytest.raises(VersionMismatch, match="must be of model version 'v2', got 'v1'"):
        load_index(whole[backend], "v2")


def test_a_class_loads_only_its_own(whole: dict[str, Path]) -> None:
    with pytest.raises(IndexCorrupt, match="must be of backend exact"):
        ExactIndex.load(whole["annoy"])
