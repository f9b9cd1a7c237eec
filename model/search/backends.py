"""Index backends by name: built-in ones, and classes from outside the package as "package.module:Class".

    index = build_index("exact", embeddings, item_indices, model_version="3f2a")
    index.save(folder)
    item_indices, scores = load_index(folder, "3f2a").search(queries, 100, excluded=(flat, offsets))

A backend is a subclass of `model.search.item_index.ItemIndex` (or of `ApproximateIndex`) and one line in BACKENDS. All
backends compute the same score for an item, never return an excluded item, and leave no slot empty while items are
left. The caller sets the number of threads by OMP_NUM_THREADS before numpy and torch are imported.
"""

# Axes: I items, D dimensions.
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.artifacts.formats import INDEX, IndexCorrupt
from model.registry import Registry

if TYPE_CHECKING:  # numpy and the backends' libraries are imported when a class is first used
    import numpy as np

    from model.search.item_index import ItemIndex

BACKENDS: Registry[ItemIndex] = Registry(
    "index.backend",
    "model.search.item_index:ItemIndex",
    {
        "exact": "model.search.exact_index:ExactIndex",
        "annoy": "model.search.annoy_index:AnnoyIndex",
        "ivf": "model.search.ivf_index:IvfIndex",
    },
)


def build_index(
    backend: str, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: Any
) -> ItemIndex:
    """An index of the named backend over embeddings float32 [I, D] of items int64 [I]; options as in its `build`.

    Raises ValueError as `Registry.get` and the backend's `build` do.
    """
    return BACKENDS.get(backend).build(embeddings, item_indices, model_version=model_version, **options)


def load_index(
    folder: Path | str, expected_model_version: str | None = None, backends: Iterable[str] = tuple(BACKENDS.built_in)
) -> ItemIndex:
    """Load the index in a folder, which must be of one of the named backends.

    It may be in shards (`model.search.sharded_index`). The manifest only selects one of `backends`: a name that is
    stored in a folder is never imported. Raises IndexCorrupt if the folder is of another backend, and what
    `ItemIndex.load` raises.
    """
    from model.search.approximate_index import ApproximateIndex
    from model.search.sharded_index import IN_SHARDS, in_shards

    stored, names = INDEX.read_manifest(Path(folder))["backend"], list(backends)
    own = stored.removesuffix(IN_SHARDS)
    for name in sorted(names, key=lambda name: name != own):  # a class of the stored name first: imports no other
        kind = BACKENDS.get(name)
        if kind.backend == stored:
            return kind.load(folder, expected_model_version)
        if kind.backend == own and issubclass(kind, ApproximateIndex):
            return in_shards(kind).load(folder, expected_model_version)
    raise IndexCorrupt(f"{folder} must be an index of one of the backends {names}, got {stored!r}")
