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
    Step,
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
    head = Headline(word, word, word, "good", word, steps=[Step(word, word, word, word)])
    text = render(head, [KeyFigure(word, word, word, "good", word)], [section])
    page = Page(text)
    assert "<script" not in text
    assert text.count("</style>") == 1
    found = sum(text.count(HOSTILE) for _, text in page.texts)
    assert found == 38, "each word is there, as it was"


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


HEAD = Headline("2026-01-31", "", "published", "good", "")


def test_a_column_without_a_value_is_left_out() -> None:
    rows = [[Cell("group", "heading")], *([Cell(name), Cell("–"), Cell(""), Cell("5")] for name in "ab")]
    text = render(HEAD, [], [Section("s", "S", "", [Grid(["name", "empty", "none", "value"], rows, 2)])])
    assert Page(text).rows == [["name", "value"], ["group"], ["a", "5"], ["b", "5"]]
    assert '<td class=" number">5</td>' in text, "a number, although it has moved to the place of a text"
    assert '<td class="heading" colspan="2">' in text


def test_sections_without_content_are_named_once_at_the_end() -> None:
    empty = [Section(name, name.title(), "A lead.", [Missing(f"No {name}.")]) for name in ("model", "gate")]
    text = render(HEAD, [], [empty[0], Section("log", "Log", "", [Facts([("rows", "5")])]), empty[1]])
    page = Page(text)
    assert page.ids == ["log", "missing"]
    assert [found for element, found in page.texts if element in ("dt", "dd")] == [
        "rows", "5", "Model", "No model.", "Gate", "No gate.",
    ]  # fmt: skip
    assert "A lead." not in text
