"""What every index shares: the items it holds, how it is searched, how it is kept in a folder."""

# Axes: N queries, I items, D dimensions, K results, E exclusions of all queries, P (query, item) pairs.
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from model.artifacts import index_files
from model.artifacts.index_files import IndexCorrupt, VersionMismatch
from model.ragged import Ragged, checked_ragged, cut
from model.search.top_k import empty_results
from model.vocabulary import NO_ITEM

QUERIES_AT_ONCE = 4_096
ROWS_CHECKED_AT_ONCE = 65_536
NORM_TOLERANCE = 1e-3


class ItemIndex(ABC):
    """Items of one model version, in ascending order of item_index, and a way to search them."""

    backend: ClassVar[str]
    metric: ClassVar[str]
    is_exact: ClassVar[bool]
    file_names: ClassVar[tuple[str, ...]] = ("embeddings.npy", "item_indices.npy")

    def __init__(self, matrix: np.ndarray, item_indices: np.ndarray, model_version: str) -> None:
        """For `build` and `load`: matrix float32 [I, D] and item_indices int64 [I] are in order by now."""
        self.matrix, self.item_indices = matrix, item_indices
        self.model_version = checked_version(model_version)
        self.largest_norm = largest_norm(matrix, unit_norm=self.metric == "angular")

    @cached_property
    def _places(self) -> np.ndarray:
        """The position of each item_index, with a -1 at either end for those beyond: int32 [largest + 3]."""
        places = np.full(int(self.item_indices[-1]) + 3, NO_ITEM, dtype=np.int32)
        places[self.item_indices + 1] = np.arange(len(self))
        return places

    @classmethod
    @abstractmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str) -> ItemIndex:
        """An index over embeddings float32 [I, D]; item_indices int64 [I] says which item a row is.

        ValueError for other types or shapes, an item twice or below 0, a row not finite, no model_version.
        """

    def search(
        self, queries: np.ndarray, k: int, excluded: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the highest scores for each query float32 [N, D].

        excluded: flat item indices int64 [E] and offsets int64 [N + 1]; items not in the index do no harm.
        Returns item_indices int64 [N, K] and scores float32 [N, K]: best first, equal scores by item_index.
        A row has min(K, I - its excluded items) results; the rest is -1 and -inf. ValueError for other types,
        shapes, k < 1 or queries that are not finite.
        """
        queries = checked_queries(queries, self.dimension)
        if k < 1:
            raise ValueError(f"k wants at least 1, got {k}")
        nothing = (np.empty(0, dtype=np.int64), np.zeros(len(queries) + 1, dtype=np.int64))
        ragged = checked_ragged(nothing if excluded is None else excluded, len(queries), "excluded")
        found, scores = empty_results(len(queries), k)
        n_blocks = -(-len(queries) // QUERIES_AT_ONCE) if len(self) else 0
        edges = np.linspace(0, len(queries), n_blocks + 1).astype(int).tolist()  # alike: a short last one is slow
        for start, stop in pairwise(edges):
            block = slice(start, stop)
            positions, scores[block] = self._search(queries[block], k, self._forbidden(ragged, start, stop))
            found[block] = np.where(positions == NO_ITEM, NO_ITEM, self.item_indices[positions])
        return found, scores

    @abstractmethod
    def _search(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores [N, K] for one block of queries; forbidden int64 [P] as in `model.search.top_k`."""

    def _forbidden(self, excluded: Ragged, start: int, stop: int) -> np.ndarray:
        """The keys (row * I + position) of the exclusions of rows start to stop: unique, ascending."""
        rows, items = cut(excluded, start, stop)
        positions = self.positions(items)
        held = positions != NO_ITEM
        keys = rows[held] * len(self) + positions[held]
        return keys if (np.diff(keys) > 0).all() else np.unique(keys)  # rows may come in order

    def positions(self, items: np.ndarray) -> np.ndarray:
        """Where in the matrix items int64 [...] stand, integers [...]; -1 for those that the index does not hold."""
        if not len(self):
            return np.full(items.shape, NO_ITEM, dtype=np.int64)
        return self._places.take(items + 1, mode="clip")

    def save(self, folder: Path | str) -> None:
        """Writes the index as a folder that appears whole or not at all, in place of an older one."""
        manifest = {
            "backend": self.backend,
            "metric": self.metric,
            "dimension": self.dimension,
            "item_count": len(self),
            "model_version": self.model_version,
            "options": self._options(),
        }
        index_files.write_folder(Path(folder), manifest, self._writers())

    @classmethod
    def load(cls, folder: Path | str, expected_model_version: str | None = None) -> ItemIndex:
        """The index in a folder, memory-mapped.

        IndexCorrupt or VersionMismatch, both ValueErrors, before anything in the folder is used.
        """
        folder = Path(folder)
        manifest = index_files.read_manifest(folder)
        if (manifest["backend"], manifest["metric"]) != (cls.backend, cls.metric):
            got = f"{manifest['backend']} ({manifest['metric']})"
            raise IndexCorrupt(f"{folder}: wants backend {cls.backend} ({cls.metric}), got {got}")
        if expected_model_version not in (None, manifest["model_version"]):
            raise VersionMismatch(
                f"{folder}: wants model version {expected_model_version!r}, got {manifest['model_version']!r}"
            )
        index_files.check_files(folder, manifest, set(cls.file_names))
        n_items, dimension = manifest["item_count"], manifest["dimension"]
        matrix = index_files.read_array(folder / "embeddings.npy", np.float32, (n_items, dimension))
        item_indices = index_files.read_array(folder / "item_indices.npy", np.int64, (n_items,))
        try:
            check_order(item_indices)
            return cls._opened(folder, matrix, item_indices, manifest)
        except (ValueError, TypeError) as error:
            raise IndexCorrupt(f"{folder}: {error}") from error

    @classmethod
    @abstractmethod
    def _opened(cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, manifest: dict[str, Any]) -> ItemIndex:
        """The index made of verified files. ValueError or TypeError if they do not fit each other."""

    def _options(self) -> dict[str, Any]:
        return {}

    def _writers(self) -> dict[str, Callable[[Path], object]]:
        arrays = zip(self.file_names, (self.matrix, self.item_indices), strict=False)
        return {name: index_files.write_array(array) for name, array in arrays}

    @property
    def dimension(self) -> int:
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.item_indices)


def ordered_items(embeddings: np.ndarray, item_indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows in ascending order of item_index, so that a position orders equal scores as the index does."""
    embeddings, item_indices = np.asarray(embeddings), np.asarray(item_indices)
    if embeddings.ndim != 2 or embeddings.dtype != np.float32 or embeddings.shape[1] < 1:
        raise ValueError(f"embeddings wants float32 [I, D], got {embeddings.dtype} {list(embeddings.shape)}")
    if item_indices.shape != embeddings.shape[:1] or item_indices.dtype != np.int64:
        wanted = f"int64 [{len(embeddings)}]"
        raise ValueError(f"item_indices wants {wanted}, got {item_indices.dtype} {list(item_indices.shape)}")
    order = np.argsort(item_indices, kind="stable")
    check_order(item_indices[order])
    return embeddings[order], item_indices[order]


def check_order(item_indices: np.ndarray) -> None:
    """ValueError unless item_indices [I] are >= 0 and rise."""
    if len(item_indices) and item_indices[0] < 0:
        raise ValueError(f"item_indices wants numbers from 0 on, got {item_indices[0]}")
    wrong = item_indices[1:][item_indices[1:] <= item_indices[:-1]]
    if len(wrong):
        raise ValueError(f"item_indices wants each item once and in order, got {wrong[0]} again")


def largest_norm(matrix: np.ndarray, unit_norm: bool) -> float:
    """The largest norm of rows [I, D]. ValueError if one is not finite or, where asked, not 1 within 1e-3."""
    largest = 0.0
    for start in range(0, len(matrix), ROWS_CHECKED_AT_ONCE):
        norms = np.linalg.norm(matrix[start : start + ROWS_CHECKED_AT_ONCE], axis=1)
        wrong = ~np.isfinite(norms) | (unit_norm & (np.abs(norms - 1.0) > NORM_TOLERANCE))
        if wrong.any():
            wanted, got = "norm 1" if unit_norm else "finite numbers", norms[np.argmax(wrong)]
            raise ValueError(f"embeddings wants rows of {wanted}, got norm {got:.6g}")
        largest = max(largest, float(norms.max()))
    return largest


def checked_queries(queries: np.ndarray, dimension: int) -> np.ndarray:
    queries = np.asarray(queries)
    if queries.ndim != 2 or queries.shape[1] != dimension or queries.dtype != np.float32:
        raise ValueError(f"queries wants float32 [N, {dimension}], got {queries.dtype} {list(queries.shape)}")
    if not np.isfinite(queries).all():
        raise ValueError("queries wants finite numbers, got NaN or infinity")
    return queries


def checked_version(model_version: str) -> str:
    if not isinstance(model_version, str) or not model_version:
        raise ValueError(f"model_version wants a text, got {model_version!r}")
    return model_version
