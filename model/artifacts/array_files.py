"""NumPy arrays in index folders: written without pickle, read memory-mapped and checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.artifacts.formats import IndexCorrupt


def array_writer(array: np.ndarray) -> Callable[[Path], None]:
    """A function that writes the array to a .npy file."""
    return lambda path: np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array in a .npy file, memory-mapped, so that all processes that read it share its pages.

    None in `shape` allows any length. Raises IndexCorrupt if the file is not an array, or has another type or shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises many types for a damaged header, from ValueError to TokenError
        raise IndexCorrupt(f"{path} must be an array, got {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not _matches(array.shape, shape):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise IndexCorrupt(f"{path} must be {np.dtype(dtype)} {shape}, got {got}")
    return array.view(np.ndarray)  # a plain array, still memory-mapped


def _matches(got: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(got) == len(expected) and all(size in (None, length) for length, size in zip(got, expected, strict=True))
