"""The classes that docs/extending.md shows work as the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.negatives.sources import Probabilities
from model.search.exact_index import ExactIndex

PAGE = Path(__file__).resolve().parents[1] / "docs/extending.md"


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the Python blocks of the page define."""
    names: dict[str, Any] = {}
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE.read_text("utf-8"), flags=re.MULTILINE):
        if "class " in block:
            exec(compile("".join(line[4:] for line in block.splitlines(keepends=True)), str(PAGE), "exec"), names)
    return names


def test_the_source_of_the_page_draws_as_often_as_it_says(shown: dict[str, Any]) -> None:
    q = torch.tensor([0.0, 0.1, 0.2, 0.7], dtype=torch.float64)
    source = shown["Popular"](20_000, Probabilities(q, q, q), power=1.5)
    drawn = torch.bincount(source.draw(torch.Generator().manual_seed(1)), minlength=4).double()
    expected = source.expected_count(torch.arange(4))
    assert expected.sum() == pytest.approx(20_000)
    assert expected[3] / expected[2] == pytest.approx(3.5**1.5)
    torch.testing.assert_close(drawn, expected, rtol=0.1, atol=0.0)


def test_the_index_of_the_page_finds_what_exact_search_finds(shown: dict[str, Any], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    vectors, queries = random.normal(size=(50, 4)).astype(np.float32), random.normal(size=(7, 4)).astype(np.float32)
    items, excluded = np.arange(50) * 3, (np.array([0, 3, 6]), np.array([0, 2, 2, 3, 3, 3, 3, 3]))
    kind = shown["AllItems"]
    kind.build(vectors, items, model_version="m").save(tmp_path / "index")
    found, scores = kind.load(tmp_path / "index", "m").search(queries, 10, excluded)
    wanted, wanted_scores = ExactIndex.build(vectors, items, model_version="m").search(queries, 10, excluded)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)
