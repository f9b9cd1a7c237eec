"""Both index backends against brute force; folders that were damaged, swapped or cut short."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annoy
import numpy as np
import pytest

from model import index_files, top_k
from model.annoy_trees import check_trees, grow_trees
from model.index import (
    ExactIndex,
    IndexCorrupt,
    ItemIndex,
    VersionMismatch,
    build_index,
    load_index,
    recall_against_exact,
)

BACKENDS = ["exact", "annoy"]
N_ITEMS, DIMENSION = 700, 16
Pair = tuple[np.ndarray, np.ndarray]


def unit(rng: np.random.Generator, rows: int, dimension: int = DIMENSION) -> np.ndarray:
    vectors = rng.standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ragged(rows: list[list[int]]) -> Pair:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return np.array([item for row in rows for item in row], dtype=np.int64), offsets


def catalogue(seed: int = 0, n_items: int = N_ITEMS) -> Pair:
    """Embeddings, and indices with gaps in no order."""
    rng = np.random.default_rng(seed)
    return unit(rng, n_items), rng.choice(3 * n_items, n_items, replace=False).astype(np.int64)


def build(backend: str, embeddings: np.ndarray, items: np.ndarray, **options: int) -> ItemIndex:
    options = {"n_trees": 10, **options} if backend == "annoy" else options
    return build_index(backend, embeddings, items, model_version="v1", **options)


def brute_force(embeddings: np.ndarray, items: np.ndarray, queries: np.ndarray, k: int, excluded: Pair) -> Pair:
    """One Python loop a query, written as the definition reads."""
    found = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    flat, offsets = excluded
    for row, query in enumerate(queries):
        banned = set(flat[offsets[row] : offsets[row + 1]].tolist())
        exact = (embeddings.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        pairs = sorted((-score, item) for score, item in zip(exact, items, strict=True) if item not in banned)
        for place, (score, item) in enumerate(pairs[:k]):
            found[row, place], scores[row, place] = item, -score
    return found, scores


def some_exclusions(items: np.ndarray, queries: np.ndarray, embeddings: np.ndarray, n_best: int) -> Pair:
    """None; the best ones; all, or nearly all twice; some twice with unknown ones; again for further rows."""
    best = items[np.argsort(-(queries @ embeddings.T), axis=1)[:, :n_best]]
    kinds = [
        lambda row: [],
        lambda row: best[row].tolist(),
        lambda row: items.tolist() if row % 8 < 4 else items[5:].tolist() * 2,
        lambda row: [*best[row, :3].tolist(), *best[row, :3].tolist(), -1, 10**12, int(items.max()) + 1],
    ]
    return ragged([kinds[row % 4](row) for row in range(len(queries))])


@pytest.mark.parametrize("k", [1, 10, N_ITEMS + 5])
def test_exact_equals_brute_force(k: int) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(1), 20)
    excluded = some_exclusions(items, queries, embeddings, 40)
    found, scores = build("exact", embeddings, items).search(queries, k, excluded)
    wanted, wanted_scores = brute_force(embeddings, items, queries, k, excluded)
    assert (wanted == -1).any()
    assert (wanted != -1).any()
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)
    assert found.dtype == np.int64
    assert scores.dtype == np.float32


def test_annoy_with_many_nodes_equals_brute_force() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(1), 20)
    excluded = some_exclusions(items, queries, embeddings, 40)
    index = build("annoy", embeddings, items, search_k=100 * N_ITEMS)
    found, scores = index.search(queries, 10, excluded)
    wanted, wanted_scores = brute_force(embeddings, items, queries, 10, excluded)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


@pytest.mark.parametrize("n_trees", [1, 10])
@pytest.mark.parametrize("search_k", [1, 60])
def test_annoy_never_returns_an_excluded_item_nor_a_short_row(n_trees: int, search_k: int) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(2), 40)
    flat, offsets = excluded = some_exclusions(items, queries, embeddings, 200)
    index = build("annoy", embeddings, items, n_trees=n_trees, search_k=search_k)
    found, scores = index.search(queries, 30, excluded)
    for row in range(len(queries)):
        banned = set(flat[offsets[row] : offsets[row + 1]].tolist()) & set(items.tolist())
        results = found[row][found[row] >= 0].tolist()
        assert len(set(results)) == len(results) == min(30, N_ITEMS - len(banned))
        assert set(results) <= set(items.tolist()) - banned
    assert (np.diff(scores[np.isfinite(scores).all(axis=1)], axis=1) <= 0).all()


def test_annoy_is_asked_for_as_many_more_as_are_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: Any) -> Pair:
        raise AssertionError("a row was short")

    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(16), 20)
    best = items[np.argsort(-(queries @ embeddings.T), axis=1)[:, :40]].tolist()
    index = build("annoy", embeddings, items, search_k=100 * N_ITEMS)
    monkeypatch.setattr("model.index.exact_top_k", unexpected)
    assert (index.search(queries, 10, ragged(best))[0] >= 0).all()
    with pytest.raises(AssertionError, match="short"):
        build("annoy", embeddings, items, n_trees=1, search_k=1).search(queries, 30, ragged(best))


def test_both_backends_score_alike() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(3), 50)
    exact, annoy_ = (build(backend, embeddings, items).search(queries, 20) for backend in BACKENDS)
    pairs = [
        {(row, item): score for row in range(50) for item, score in zip(found[row], scores[row], strict=True)}
        for found, scores in (exact, annoy_)
    ]
    common = pairs[0].keys() & pairs[1].keys()
    assert len(common) > 300
    assert all(pairs[0][key] == pairs[1][key] for key in common)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_scores_come_by_item_index(backend: str) -> None:
    """Three distinct vectors for 600 items: nearly all of the list is a tie, cut at k."""
    rng = np.random.default_rng(4)
    embeddings = unit(rng, 3)[np.arange(600) % 3]
    items = rng.permutation(600).astype(np.int64)
    queries = unit(rng, 9)
    excluded = ragged([[0, 1, 2, 3]] * 9)
    found, scores = build(backend, embeddings, items, **({"search_k": 6000} if backend == "annoy" else {})).search(
        queries, 250, excluded
    )
    wanted, wanted_scores = brute_force(embeddings, items, queries, 250, excluded)
    assert len(np.unique(wanted_scores[0])) == 2
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


def test_rounding_of_the_matrix_product_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that is off by half of its error bound must not change a thing."""
    embeddings, items = catalogue()
    embeddings[100:400] = embeddings[100] + np.float32(1e-6) * embeddings[100:400]
    queries = np.concatenate([unit(np.random.default_rng(5), 3), embeddings[100:103]])
    wanted = build("exact", embeddings, items).search(queries, 50)
    multiply, calls = np.matmul, []

    def noisy(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(len(calls)).uniform(-1, 1, out.shape) * 0.5 * DIMENSION * 2.0**-24
        calls.append(1)
        out[...] = multiply(a, b) + noise
        return out

    monkeypatch.setattr(top_k.np, "matmul", noisy)
    found = build("exact", embeddings, items).search(queries, 50)
    assert len(calls) > 1, "it should have had to look again"
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("k", [20, 60])  # 60 is more than a block
@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_results_do_not_depend_on_blocks(order: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, items = catalogue(n_items=300)
    queries = unit(np.random.default_rng(6), 70)
    if order != "random":  # of the first query's scores
        by_score = np.argsort(embeddings @ queries[0])
        embeddings, items = embeddings[by_score if order == "rising" else by_score[::-1]], np.arange(300)
    excluded = some_exclusions(items, queries, embeddings, 40)
    wanted = build("exact", embeddings, items).search(queries, k, excluded)
    monkeypatch.setattr(top_k, "BLOCK_ITEMS", 37)
    monkeypatch.setattr(top_k, "BLOCK_CELLS", 37 * 11)
    found = build("exact", embeddings, items).search(queries, k, excluded)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_a_row_that_needs_a_second_look_keeps_its_own_exclusions() -> None:
    """Items 0 to 299 are one vector, the others differ; queries alternate between the two kinds."""
    rng = np.random.default_rng(15)
    embeddings, items = unit(rng, 400), np.arange(400)
    embeddings[:300] = embeddings[0]
    queries = np.concatenate([np.stack([embeddings[300 + n], embeddings[0]]) for n in range(6)])
    excluded = ragged([[row, row + 1, row + 2, 300 + row] for row in range(12)])
    found, scores = build("exact", embeddings, items).search(queries, 10, excluded)
    wanted, wanted_scores = brute_force(embeddings, items, queries, 10, excluded)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_searched_alone_as_together(backend: str) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(7), 300)  # three blocks of queries
    flat, offsets = excluded = some_exclusions(items, queries, embeddings, 15)
    index = build(backend, embeddings, items)
    found, scores = index.search(queries, 12, excluded)
    for row in (0, 127, 128, 129, 255, 256, 299):
        alone = index.search(queries[row : row + 1], 12, (flat, offsets[row : row + 2]))
        np.testing.assert_array_equal(alone[0][0], found[row])
        np.testing.assert_array_equal(alone[1][0], scores[row])


@pytest.mark.parametrize("backend", BACKENDS)
def test_building_twice_gives_the_same_folder(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    shuffled = np.random.default_rng(8).permutation(N_ITEMS)
    build(backend, embeddings, items).save(tmp_path / "one")
    build(backend, embeddings[shuffled], items[shuffled]).save(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert len(names) == (3 if backend == "exact" else 4)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_another_seed_grows_another_forest(tmp_path: Path) -> None:
    for seed in (1, 2):
        build("annoy", *catalogue(), seed=seed).save(tmp_path / str(seed))
    assert (tmp_path / "1" / "trees.ann").read_bytes() != (tmp_path / "2" / "trees.ann").read_bytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_of_nothing(backend: str, tmp_path: Path) -> None:
    queries = unit(np.random.default_rng(9), 2)
    build(backend, np.empty((0, DIMENSION), np.float32), np.empty(0, np.int64)).save(tmp_path / "empty")
    empty = load_index(tmp_path / "empty")
    found, scores = empty.search(queries, 3, ragged([[1], [2]]))
    assert len(empty) == 0
    assert (found == -1).all()
    assert np.isneginf(scores).all()
    assert found.shape == scores.shape == (2, 3)
    found, scores = build(backend, *catalogue()).search(queries[:0], 3)
    assert found.shape == scores.shape == (0, 3)
    one = build(backend, queries[:1], np.array([7]))
    assert one.search(queries, 2)[0].tolist() == [[7, -1], [7, -1]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loaded_index_is_the_saved_one(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(10), 20)
    excluded = some_exclusions(items, queries, embeddings, 20)
    index = build(backend, embeddings, items)
    index.save(tmp_path / "deep" / "index")
    loaded = load_index(str(tmp_path / "deep" / "index"), "v1")
    assert type(loaded) is type(index)
    assert (loaded.backend, loaded.is_exact) == (backend, backend == "exact")
    assert (loaded.model_version, loaded.dimension, len(loaded)) == ("v1", DIMENSION, N_ITEMS)
    for ours, theirs in zip(index.search(queries, 15, excluded), loaded.search(queries, 15, excluded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not loaded.matrix.flags.writeable
    assert isinstance(loaded.matrix.base, np.memmap), "workers should share its pages"


def test_recall_against_exact() -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(11), 60)
    exact, weak = build("exact", embeddings, items), build("annoy", embeddings, items, n_trees=1, search_k=30)
    excluded = some_exclusions(items, queries, embeddings, 20)
    found, wanted = (index.search(queries, 10, excluded)[0] for index in (weak, exact))
    by_hand = [
        len(set(ours) & set(theirs) - {-1}) / len(set(theirs) - {-1})
        for ours, theirs in zip(found, wanted, strict=True)
        if theirs[0] >= 0
    ]
    assert len(by_hand) == 52
    assert 0 < np.mean(by_hand) < 1
    assert recall_against_exact(weak, exact, queries, 10, excluded) == pytest.approx(np.mean(by_hand))
    assert recall_against_exact(exact, exact, queries, 10, excluded) == 1
    assert recall_against_exact(exact, exact, queries, N_ITEMS + 5, excluded) == 1
    assert np.isnan(recall_against_exact(weak, exact, queries[:0], 10))
    with pytest.raises(ValueError, match="exact"):
        recall_against_exact(exact, weak, queries, 10)
    with pytest.raises(ValueError, match="items"):
        recall_against_exact(weak, build("exact", embeddings[1:], items[1:]), queries, 10)


def changed(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array[3] = value
    return array


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda e, i: (e.astype(np.float64), i), "embeddings wants float32.*got float64"),
        (lambda e, i: (e[0], i), "embeddings wants"),
        (lambda e, i: (changed(e, np.nan), i), "got norm nan"),
        (lambda e, i: (e, i[1:]), r"item_indices wants int64 \[700\], got int64 \[699\]"),
        (lambda e, i: (e, i.astype(np.int32)), "got int32"),
        (lambda e, i: (e, changed(i, -1)), "from 0 on, got -1"),
        (lambda e, i: (e, changed(i, i[5])), "each item once"),
    ],
)
def test_wrong_catalogues_are_refused(backend: str, alter: Callable[..., Pair], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(backend, *alter(*catalogue()))


def test_annoy_wants_unit_norm_and_exact_does_not() -> None:
    embeddings, items = catalogue()
    build("annoy", embeddings * np.float32(1.0005), items)
    with pytest.raises(ValueError, match=r"norm 1, got norm 1\.002"):
        build("annoy", embeddings * np.float32(1.002), items)
    queries = unit(np.random.default_rng(12), 5)
    longer = (embeddings * np.linspace(0, 50, N_ITEMS)[:, None]).astype(np.float32)
    found, scores = build("exact", longer, items).search(queries, 9)
    wanted, wanted_scores = brute_force(longer, items, queries, 9, ragged([[]] * 5))
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


@pytest.mark.parametrize(
    ("queries", "k", "excluded", "message"),
    [
        (np.zeros((2, 5), np.float32), 3, None, r"queries wants float32 \[N, 16\], got float32 \[2, 5\]"),
        (np.zeros((2, 16)), 3, None, "got float64"),
        (np.full((2, 16), np.nan, np.float32), 3, None, "finite"),
        (np.zeros((2, 16), np.float32), 0, None, "k wants at least 1, got 0"),
        (np.zeros((2, 16), np.float32), 3, ragged([[1]]), "excluded wants 3 offsets for 2 rows, got 2"),
        (
            np.zeros((2, 16), np.float32),
            3,
            (np.array([1]), np.array([0, 1, 2])),
            "excluded wants offsets that rise",
        ),
    ],
)
def test_wrong_searches_are_refused(queries: np.ndarray, k: int, excluded: Pair | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("exact", *catalogue()).search(queries, k, excluded)


def test_wrong_names_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"index\.backend wants one of \['annoy', 'exact'\], got 'faiss'"):
        build("faiss", *catalogue())
    with pytest.raises(ValueError, match="model_version wants a text, got ''"):
        build_index("exact", *catalogue(), model_version="")
    for option in ({"n_trees": 0}, {"n_trees": 2.0}, {"search_k": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} wants a whole number"):
            build("annoy", *catalogue(), **option)  # type: ignore[arg-type]


# What can be wrong with a folder. Each function damages one that was whole.


def rewrite(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**manifest, **fields}))


def sign(folder: Path) -> None:
    """Makes the manifest fit whatever the files hold by now, as an attacker would."""
    names = json.loads((folder / "index.json").read_text())["files"]
    rewrite(folder, files={name: index_files._facts(folder / name) for name in names})


def truncate(name: str, n_bytes: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, n_bytes)


def flip(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-9] ^= 1
        (folder / name).write_bytes(content)

    return damage


def overwrite(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert content.count(old) == 1
        (folder / name).write_bytes(content.replace(old, new))

    return damage


def link(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return damage


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def from_another(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        backend = json.loads((folder / "index.json").read_text())["backend"]
        build(backend, *catalogue(seed=99)).save(folder.parent / "other")
        shutil.copy(folder.parent / "other" / name, folder / name)

    return damage


def signed(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def both(folder: Path) -> None:
        damage(folder)
        sign(folder)

    return both


def array(name: str, value: Any) -> Callable[[Path], None]:
    return signed(lambda folder: np.save(folder / name, value, allow_pickle=True))


def fields(**values: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, **values)


def rename_in_manifest(name: str, other: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder / other)
        files = json.loads((folder / "index.json").read_text())["files"]
        files[other] = files.pop(name)
        rewrite(folder, files=files)

    return damage


def text(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "index.json").write_bytes(content.encode("latin-1"))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def pickled(name: str) -> Callable[[Path], None]:
    return signed(lambda folder: (folder / name).write_bytes(pickle.dumps(Bomb())))


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
    "files without facts": lambda folder: fields(files=dict.fromkeys(load_index(folder).file_names))(folder),
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
    """Nothing of a damaged folder may reach Annoy."""

    class Guard(annoy.AnnoyIndex):
        def load(self, *_: Any, **__: Any) -> bool:
            raise AssertionError("Annoy was handed a file of a damaged folder")

    monkeypatch.setattr("model.annoy_trees.annoy.AnnoyIndex", Guard)


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
    with pytest.raises(IndexCorrupt, match=r"wants|missing|unexpected|multiple values"):
        load_index(folder)
    assert not (tmp_path / "exploded").exists()


def nodes_of(folder: Path) -> np.ndarray:
    return np.memmap(folder / "trees.ann", dtype=np.int32, mode="r+").reshape(-1, DIMENSION + 3)


def inner_node(nodes: np.ndarray) -> int:
    """The first node that leads to two others."""
    return int(np.flatnonzero(nodes[:, 0] > DIMENSION + 2)[0])


def leaf(nodes: np.ndarray) -> int:
    """The last node that names its items."""
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
    "no trees option": fields(options={"n_trees": 0, "search_k": -1, "seed": 1}),
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
def test_sound_trees_are_opened(n_items: int, dimension: int, tmp_path: Path) -> None:
    matrix = unit(np.random.default_rng(13), n_items, dimension)
    grow_trees(matrix, 3, seed=5).save(str(tmp_path / "trees.ann"))
    check_trees(tmp_path / "trees.ann", matrix)
    with pytest.raises(ValueError, match="items to be the embeddings"):
        check_trees(tmp_path / "trees.ann", changed(matrix, 1.0) if n_items > 3 else -matrix)


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_models_index_is_refused(backend: str, whole: dict[str, Path], no_annoy_load: None) -> None:
    with pytest.raises(VersionMismatch, match="wants model version 'v2', got 'v1'"):
        load_index(whole[backend], "v2")


def test_a_class_loads_only_its_own(whole: dict[str, Path]) -> None:
    with pytest.raises(IndexCorrupt, match="wants backend exact"):
        ExactIndex.load(whole["annoy"])


# A save that is cut short.


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "moment", ["index_files.np.save", "folders.os.fsync", "folders.os.rename", "index_files.json.dumps"]
)
def test_a_kill_while_saving_leaves_nothing(
    backend: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        assert not (tmp_path / "index").exists()
        raise Killed

    index = build(backend, *catalogue())
    with monkeypatch.context() as patch:
        patch.setattr(f"model.{moment}", kill)
        patch.setattr("model.folders.shutil.rmtree", lambda *_, **__: None)  # a real kill tidies nothing
        with pytest.raises(Killed):
            index.save(tmp_path / "index")
    left = list(tmp_path.iterdir())
    assert [path.name.startswith(".index.") for path in left] == [True]
    index.save(tmp_path / "index")
    load_index(tmp_path / "index")


def test_an_error_while_saving_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("model.folders.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        build("exact", *catalogue()).save(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_folder_is_whole_and_flushed_when_it_gets_its_name(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    renamed: list[Path] = []
    fsync, rename = os.fsync, os.rename

    def note_flush(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check(source: Path, target: Path) -> None:
        load_index(source, "v1")
        assert {path.stat().st_ino for path in [source, *source.iterdir()]} <= set(flushed)
        renamed.append(target)
        rename(source, target)

    monkeypatch.setattr("model.folders.os.fsync", note_flush)
    monkeypatch.setattr("model.folders.os.rename", check)
    build(backend, *catalogue()).save(tmp_path / "index")
    assert renamed == [tmp_path / "index"]
    assert tmp_path.stat().st_ino in flushed


@pytest.mark.parametrize("backend", BACKENDS)
def test_saving_again_replaces_the_folder(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(14), 4)
    build(backend, embeddings, items).save(tmp_path / "index")
    old = load_index(tmp_path / "index")
    before = old.search(queries, 5)[0]
    build(backend, embeddings[:300], items[:300]).save(tmp_path / "index")
    assert len(load_index(tmp_path / "index")) == 300
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    np.testing.assert_array_equal(old.search(queries, 5)[0], before)  # who had it open keeps the old one


def test_a_failed_replacement_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, items = catalogue()
    build("exact", embeddings, items).save(tmp_path / "index")
    rename, calls = os.rename, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr("model.folders.os.rename", second_fails)
    with pytest.raises(OSError, match="no"):
        build("exact", embeddings[:9], items[:9]).save(tmp_path / "index")
    assert len(load_index(tmp_path / "index")) == N_ITEMS
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
