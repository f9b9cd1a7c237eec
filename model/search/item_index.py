"""The interface of an index backend, and what all backends share: items, search in blocks, the folder on disk."""

# Axes: N queries, Q interests of a user, I items, D dimensions, K results, E exclusions, P (query, item) pairs.
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from model.artifacts.array_files import array_writer, read_array
from model.artifacts.formats import INDEX, IndexCorrupt, VersionMismatch
from model.features.ragged import Ragged, checked_ragged, cut, rows_of
from model.features.repeated_rows import Repeats, find_repeats
from model.search.checks import check_item_order, checked_queries, checked_version, largest_norm, sorted_items
from model.search.interests import best_dot_products, merged_by_best_score
from model.search.top_k import empty_results
from model.vocabulary import NO_ITEM

QUERIES_AT_ONCE = 4_096
EMBEDDINGS, ITEM_INDICES = "embeddings.npy", "item_indices.npy"


class ItemIndex(ABC):
    """The items of one model version, sorted by item_index, and a way to search them.

    A backend is a subclass that sets `metric` and `is_exact` and implements `search_block`. A backend that stores more
    than the vectors also sets `extra_files` and overrides `build`, `stored_options`, `file_writers` and `from_files`.
    A backend that inspects only part of the items subclasses `model.search.approximate_index.ApproximateIndex`.
    """

    backend: ClassVar[str]  # stored in index.json; by default "package.module:Class"
    metric: ClassVar[str]  # "dot": vectors of any norm; "angular": unit vectors only
    is_exact: ClassVar[bool]
    extra_files: ClassVar[tuple[str, ...]] = ()  # names of the files besides the vectors and the item indices
    seconds_opening = 0.0  # of the searches so far, what it took to open parts of the index

    def __init_subclass__(cls) -> None:
        if "backend" not in vars(cls):
            cls.backend = f"{cls.__module__}:{cls.__qualname__}"

    def __init__(self, matrix: np.ndarray, item_indices: np.ndarray, model_version: str) -> None:
        """matrix float32 [I, D] and item_indices int64 [I], both sorted by item_index. Use `build` or `load`."""
        self.matrix, self.item_indices = matrix, item_indices
        self.model_version = checked_version(model_version)
        self.largest_norm = largest_norm(matrix, unit_norm=self.metric == "angular")

    @classmethod
    def configured_options(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The options of `build` that this backend takes from the section [index] of the configuration."""
        return {}

    @classmethod
    def build(cls, embeddings: np.ndarray, item_indices: np.ndarray, *, model_version: str, **options: Any) -> Self:
        """An index over embeddings float32 [I, D], where item_indices int64 [I] names the item of each row.

        Raises ValueError for other types or shapes, a duplicate or negative item, a row that is not finite, or an empty
        model_version.
        """
        return cls(*sorted_items(embeddings, item_indices), model_version, **options)

    def search(
        self, queries: np.ndarray, k: int, excluded: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k items with the highest scores for each query float32 [N, D], or for each user's queries [N, Q, D].

        The score of an item for a user is the best one of the user's queries.
        excluded: flat item indices int64 [E] and offsets int64 [N + 1]; items that are not in the index are ignored.
        Returns item_indices int64 [N, K] and scores float32 [N, K], best first, equal scores by item_index. A row has
        min(K, I - number of its excluded items) results, followed by -1 and -inf. Raises ValueError for other types or
        shapes, k < 1, and queries that are not finite.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        nothing = (np.empty(0, dtype=np.int64), np.zeros(len(queries) + 1, dtype=np.int64))
        ragged = checked_ragged(nothing if excluded is None else excluded, len(queries), "excluded")
        if np.ndim(queries) == 3:
            return self._search_interests(queries, k, ragged)
        queries = checked_queries(queries, self.dimension)
        found, scores = empty_results(len(queries), k)
        n_blocks = -(-len(queries) // QUERIES_AT_ONCE) if len(self) else 0
        edges = np.linspace(0, len(queries), n_blocks + 1).astype(int).tolist()  # equal, as a short block is slow
        for start, stop in pairwise(edges):
            block = slice(start, stop)
            positions, scores[block] = self.search_block(queries[block], k, self._forbidden(ragged, start, stop))
            found[block] = np.where(positions == NO_ITEM, NO_ITEM, self.item_indices[positions])
        return found, scores

    def _search_interests(self, queries: np.ndarray, k: int, excluded: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """`search` for queries [N, Q, D]: k results of each query are merged.

        More are not needed: an item among a user's k best is also among the k best of the query that scores it highest.
        An approximate index can miss it there and find it by another query, so its items are scored by all queries.
        """
        n_users, n_interests, dimension = queries.shape
        users = np.repeat(np.arange(n_users), n_interests)
        found, scores = self.search(queries.reshape(-1, dimension), k, rows_of(excluded, users))
        found, scores = found.reshape(n_users, n_interests * k), scores.reshape(n_users, n_interests * k)
        if not self.is_exact:
            scores = best_dot_products(queries, self.matrix, self.positions(found))
        return merged_by_best_score(found, scores, k)

    @abstractmethod
    def search_block(self, queries: np.ndarray, k: int, forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 [N, K] and scores float32 [N, K] of one block of queries [N, D], best first.

        forbidden int64 [P]: ascending keys (query * I + position) of the pairs that must not be returned. Rows with
        fewer results end with position -1 and score -inf.
        """

    def _forbidden(self, excluded: Ragged, start: int, stop: int) -> np.ndarray:
        """The keys (row * I + position) of the exclusions of rows start to stop: unique, ascending."""
        rows, items = cut(excluded, start, stop)
        positions = self.positions(items)
        held = positions != NO_ITEM
        keys = rows[held] * len(self) + positions[held]
        return keys if (np.diff(keys) > 0).all() else np.unique(keys)  # they are often sorted already

    def positions(self, items: np.ndarray) -> np.ndarray:
        """The matrix rows of items int64 [...], in the same shape; -1 for items that are not in the index."""
        if not len(self):
            return np.full(items.shape, NO_ITEM, dtype=np.int64)
        return self._positions.take(items + 1, mode="clip")

    @cached_property
    def _positions(self) -> np.ndarray:
        """The position of each item_index, and -1 at both ends for indices out of range: int32 [largest index + 3]."""
        positions = np.full(int(self.item_indices[-1]) + 3, NO_ITEM, dtype=np.int32)
        positions[self.item_indices + 1] = np.arange(len(self))
        return positions

    @cached_property
    def repeats(self) -> Repeats | None:
        """The distinct vectors, if many items have the same one."""
        return find_repeats(self.matrix) if len(self) else None

    def save(self, folder: Path | str) -> None:
        """Write the index as a verified folder, replacing an existing one (see `ArtifactFormat.write`)."""
        fields = {
            "backend": self.backend,
            "metric": self.metric,
            "dimension": self.dimension,
            "item_count": len(self),
            "model_version": self.model_version,
            "options": self.stored_options(),
        }
        vectors = {EMBEDDINGS: array_writer(self.matrix), ITEM_INDICES: array_writer(self.item_indices)}
        INDEX.write(Path(folder), fields, {**vectors, **self.file_writers()})

    def stored_options(self) -> dict[str, Any]:
        """The options to store in index.json, as JSON values."""
        return {}

    def file_writers(self) -> dict[str, Callable[[Path], object]]:
        """For each name in `extra_files`, the function that writes the file."""
        return {}

    @classmethod
    def load(cls, folder: Path | str, expected_model_version: str | None = None) -> Self:
        """Load the index in a folder; its arrays are memory-mapped.

        Raises IndexCorrupt or VersionMismatch, both ValueErrors, before any file of the folder is used.
        """
        folder = Path(folder)
        manifest = INDEX.read_manifest(folder)
        if (manifest["backend"], manifest["metric"]) != (cls.backend, cls.metric):
            got = f"{manifest['backend']} ({manifest['metric']})"
            raise IndexCorrupt(f"{folder} must be of backend {cls.backend} ({cls.metric}), got {got}")
        if expected_model_version not in (None, version := manifest["model_version"]):
            raise VersionMismatch(f"{folder} must be of model version {expected_model_version!r}, got {version!r}")
        n_items, dimension = manifest["item_count"], manifest["dimension"]
        if dimension < 1 or n_items < 0:
            raise IndexCorrupt(f"{folder} must have a dimension of at least 1, got {dimension} and {n_items} items")
        INDEX.verify_files(folder, manifest, {EMBEDDINGS, ITEM_INDICES, *cls.files_of(manifest)})
        matrix = read_array(folder / EMBEDDINGS, np.float32, (n_items, dimension))
        item_indices = read_array(folder / ITEM_INDICES, np.int64, (n_items,))
        try:
            check_item_order(item_indices)
            return cls.from_files(folder, matrix, item_indices, version, manifest["options"])
        except (ValueError, TypeError) as error:
            raise IndexCorrupt(f"{folder}: {error}") from error

    @classmethod
    def files_of(cls, manifest: Mapping[str, Any]) -> Iterable[str]:
        """The files that a folder with this manifest has besides the vectors and the item indices."""
        return cls.extra_files

    @classmethod
    def from_files(
        cls, folder: Path, matrix: np.ndarray, item_indices: np.ndarray, model_version: str, options: dict[str, Any]
    ) -> Self:
        """The index from verified files. Raises ValueError or TypeError if they are inconsistent."""
        return cls(matrix, item_indices, model_version, **options)

    @property
    def dimension(self) -> int:
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.item_indices)
