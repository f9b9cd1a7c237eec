"""Catalogues, searches, names and options that an index refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model.search.backends import build_index
from tests.model.search.catalogues import BACKENDS, Pair, build, catalogue, changed, ragged


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda e, i: (e.astype(np.float64), i), "embeddings must be float32.*got float64"),
        (lambda e, i: (e[0], i), "embeddings must be"),
        (lambda e, i: (changed(e, np.nan), i), "got norm nan"),
        (lambda e, i: (e, i[1:]), r"item_indices must be int64 \[700\], got int64 \[699\]"),
        (lambda e, i: (e, i.astype(np.int32)), "got int32"),
        (lambda e, i: (e, changed(i, -1)), "at least 0, got -1"),
        (lambda e, i: (e, changed(i, i[5])), "unique and ascending"),
    ],
)
def test_wrong_catalogues_are_refused(backend: str, alter: Callable[..., Pair], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(backend, *alter(*catalogue()))


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_approximate_backends_require_unit_norm(backend: str) -> None:
    embeddings, items = catalogue()
    build(backend, embeddings * np.float32(1.0005), items)
    with pytest.raises(ValueError, match=r"of norm 1, got norm 1\.002"):
        build(backend, embeddings * np.float32(1.002), items)


@pytest.mark.parametrize(
    ("queries", "k", "excluded", "message"),
    [
        (np.zeros((2, 5), np.float32), 3, None, r"queries must be float32 \[N, 16\], got float32 \[2, 5\]"),
        (np.zeros((2, 16)), 3, None, "got float64"),
        (np.full((2, 16), np.nan, np.float32), 3, None, "finite"),
        (np.zeros((2, 16), np.float32), 0, None, "k must be at least 1, got 0"),
        (np.zeros((2, 16), np.float32), 3, ragged([[1]]), "excluded must have 3 offsets for 2 rows, got 2"),
        (
            np.zeros((2, 16), np.float32),
            3,
            (np.array([1]), np.array([0, 1, 2])),
            "excluded must have ascending offsets",
        ),
    ],
)
def test_wrong_searches_are_refused(queries: np.ndarray, k: int, excluded: Pair | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("exact", *catalogue()).search(queries, k, excluded)


def test_wrong_names_and_options_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"index\.backend must be one of \['annoy', 'exact', 'ivf'\] or .*, got 'faiss'"
    ):
        build("faiss", *catalogue())
    with pytest.raises(ValueError, match="model_version must be a non-empty string, got ''"):
        build_index("exact", *catalogue(), model_version="")
    wrong = {"annoy": [{"n_trees": 0}, {"n_trees": 2.0}, {"search_k": 0}, {"seed": -1}]}
    wrong["ivf"] = [{"lists": -1}, {"probes": 0}, {"probes": True}, {"seed": 2**31}]
    for backend, options in wrong.items():
        for option in options:
            with pytest.raises(ValueError, match=f"{next(iter(option))} must be a whole number of at least"):
                build(backend, *catalogue(), **option)  # type: ignore[arg-type]
