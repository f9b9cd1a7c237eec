"""Checks of an index's items, vectors and queries; each raises a ValueError that says what was expected."""

# Axes: N queries, I items, D dimensions.
from __future__ import annotations

import numpy as np

ROWS_CHECKED_AT_ONCE = 65_536
NORM_TOLERANCE = 1e-3


def sorted_items(embeddings: np.ndarray, item_indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [I, D] and item_indices int64 [I], sorted by item_index.

    Positions are then in the order of item_index, by which equal scores are ordered. What is sorted already is not
    copied. Raises ValueError for other types or shapes, and for duplicate or negative items.
    """
    embeddings, item_indices = np.asarray(embeddings), np.asarray(item_indices)
    if embeddings.ndim != 2 or embeddings.dtype != np.float32 or embeddings.shape[1] < 1:
        raise ValueError(f"embeddings must be float32 [I, D], got {embeddings.dtype} {list(embeddings.shape)}")
    if item_indices.shape != embeddings.shape[:1] or item_indices.dtype != np.int64:
        expected = f"int64 [{len(embeddings)}]"
        raise ValueError(f"item_indices must be {expected}, got {item_indices.dtype} {list(item_indices.shape)}")
    if (item_indices[1:] > item_indices[:-1]).all():
        check_item_order(item_indices)
        return embeddings, item_indices
    order = np.argsort(item_indices, kind="stable")
    check_item_order(item_indices[order])
    return embeddings[order], item_indices[order]


def check_item_order(item_indices: np.ndarray) -> None:
    """Raise ValueError unless item_indices [I] are at least 0 and strictly ascending."""
    if len(item_indices) and item_indices[0] < 0:
        raise ValueError(f"item_indices must be at least 0, got {item_indices[0]}")
    wrong = item_indices[1:][item_indices[1:] <= item_indices[:-1]]
    if len(wrong):
        raise ValueError(f"item_indices must be unique and ascending, got {wrong[0]} again")


def largest_norm(matrix: np.ndarray, unit_norm: bool) -> float:
    """The largest norm of the rows [I, D].

    Raises ValueError if a row is not finite or, with `unit_norm`, its norm is not 1 within 1e-3.
    """
    largest = 0.0
    for start in range(0, len(matrix), ROWS_CHECKED_AT_ONCE):
        norms = np.linalg.norm(matrix[start : start + ROWS_CHECKED_AT_ONCE], axis=1)
        wrong = ~np.isfinite(norms) | (unit_norm & (np.abs(norms - 1.0) > NORM_TOLERANCE))
        if wrong.any():
            expected, got = "of norm 1" if unit_norm else "finite", norms[np.argmax(wrong)]
            raise ValueError(f"rows of embeddings must be {expected}, got norm {got:.6g}")
        largest = max(largest, float(norms.max()))
    return largest


def checked_queries(queries: np.ndarray, dimension: int) -> np.ndarray:
    queries = np.asarray(queries)
    if queries.ndim != 2 or queries.shape[1] != dimension or queries.dtype != np.float32:
        raise ValueError(f"queries must be float32 [N, {dimension}], got {queries.dtype} {list(queries.shape)}")
    if not np.isfinite(queries).all():
        raise ValueError("queries must be finite, got NaN or infinity")
    return queries


def checked_version(model_version: str) -> str:
    if not isinstance(model_version, str) or not model_version:
        raise ValueError(f"model_version must be a non-empty string, got {model_version!r}")
    return model_version
