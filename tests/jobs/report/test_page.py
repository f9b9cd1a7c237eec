"""Every kind of block is rendered, in order, with its texts escaped; numbers are formatted for people."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.report.charts import line_chart
from jobs.report.figures import count, decimal, difference, direction, duration, growth, moment, percent
from jobs.report.page import (
    Cell,
    Facts,
    Figure,
    Grid,
    Headline,
    Item,
    KeyFigure,
    Missing,
    People,
    Person,
    Section,
    render,
)
from tests.jobs.report.pages import Page

HOSTILE = "<script>alert('x')</script>\"&</style></svg>"


def test_every_text_of_every_block_is_escaped() -> None:
    word = HOSTILE
    figure = Figure(word, line_chart(word, word, word, {word: [(1, 1.0)]}, decimal), [word], word)
    people = People([Person(word, word, [Item(word, "head", word)], [Item(word, "", word)])])
    grid = Grid([word, word], [[Cell(word, "heading")], [Cell(word), Cell(word, "muted", 0.5)]], 1, word)
    blocks = [Missing(word), Facts([(word, word)]), grid, figure, people]
    section = Section("name", word, word, blocks)
    text = render(Headline(word, word, word, "good", word), [KeyFigure(word, word, word, "good", word)], [section])
    page = Page(text)
    assert "<script" not in text
    assert text.count("</style>") == 1
    found = sum(text.count(HOSTILE) for _, text in page.texts)
    assert found == 33, "each word is there, as it was"


@pytest.mark.parametrize(
    ("write", "values", "wanted"),
    [
        (count, (1234567,), "1,234,567"),
        (count, (None,), "–"),
        (decimal, (0.12345,), "0.123"),
        (percent, (0.0,), "0 %"),
        (percent, (0.0004,), "< 0.1 %"),
        (percent, (0.0123,), "1.2 %"),
        (percent, (0.876,), "88 %"),
        (difference, (0.5, 0.512), "−0.012"),
        (difference, (0.5, None), ""),
        (growth, (110, 100), "+10.0 %"),
        (growth, (110, 0), ""),
        (direction, (0.5, 0.4), "good"),
        (direction, (0.4, 0.5), "bad"),
        (direction, (0.4, 0.4001), "muted"),
        (direction, (0.4, None), "muted"),
        (duration, (8.34,), "8.3 s"),
        (duration, (125,), "2 min 5 s"),
        (duration, (7260,), "2 h 1 min"),
        (moment, (1767225600000,), "2026-01-01 00:00:00"),
    ],
)
def test_numbers_are_formatted_for_people(write: Callable[..., str], values: tuple, wanted: str) -> None:
    assert write(*values) == wanted
