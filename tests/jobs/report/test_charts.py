"""Charts show the numbers that they are given, and escape their texts."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from jobs.report.charts import Axis, bar_chart, line_chart, share_chart, value_chart
from jobs.report.curves import curves
from jobs.report.figures import decimal, duration, percent
from jobs.report.page import Figure, Grid

HOSTILE = "<script>alert('x')</script>\"&"


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(kind))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 0.43, [0.0, 0.1, 0.2, 0.3, 0.4]),
        (3.0, 47.0, [10.0, 20.0, 30.0, 40.0]),
        (6.19, 7.7, [6.5, 7.0, 7.5]),
    ],
)
def test_ticks_are_round_and_within_the_axis(low: float, high: float, wanted: list[float]) -> None:
    assert Axis(low, high, 0, 1).ticks() == pytest.approx(wanted)


def test_bars_are_as_high_as_their_values() -> None:
    svg = bar_chart("t", "x", "y", ["a", "b"], {"one": [0.2, 0.4], "two": [0.0, 0.1]}, decimal)
    heights = [float(bar.attrib["height"]) for bar in shapes(svg, "rect")]
    assert heights == pytest.approx([heights[0], 0.0, heights[0] * 2, heights[0] / 2], abs=0.11)
    assert [title.text for title in shapes(svg, "title")] == [
        "a, one: 0.200",
        "a, two: 0.000",
        "b, one: 0.400",
        "b, two: 0.100",
    ]


def test_shares_of_a_row_fill_it() -> None:
    widths = [
        float(bar.attrib["width"]) + 1
        for bar in shapes(share_chart("t", [("", {"a": 0.25, "b": 0.75})], percent), "rect")
    ]
    assert widths == pytest.approx([130, 390])


def test_a_line_runs_from_the_first_point_to_the_last() -> None:
    svg = line_chart("t", "step", "loss", {"loss": [(1, 3.0), (2, 2.0), (3, 2.5)]}, decimal)
    (line,) = shapes(svg, "polyline")
    xs, ys = zip(*(map(float, point.split(",")) for point in line.attrib["points"].split()), strict=True)
    assert list(xs) == sorted(xs)
    assert ys[0] < ys[2] < ys[1], "the larger value is the higher point"
    assert [text.text for text in shapes(svg, "text") if text.text in ("1", "2", "3")] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "values", [[(1.0, 5.0)], [(1.0, 0.0), (2.0, 0.0)], [(0.0, 1e-9), (1.0, 2e-9)], [(0.0, 1e9), (1.0, 3e9)]]
)
def test_single_equal_and_extreme_points_are_drawn(values: list[tuple[float, float]]) -> None:
    svg = line_chart("t", "x", "y", {"a": values}, decimal)
    for number in re.findall(r'(?:points|cx|cy|x|y)="([^"]*)"', svg):
        assert "nan" not in number
        assert "inf" not in number
    assert len(svg) < 20_000


def test_words_are_escaped() -> None:
    for svg in (
        line_chart(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [(1, 1.0)]}, decimal),
        bar_chart(HOSTILE, HOSTILE, HOSTILE, [HOSTILE], {HOSTILE: [1.0]}, decimal),
        share_chart(HOSTILE, [(HOSTILE, {HOSTILE: 1.0})], percent),
        value_chart(HOSTILE, [(HOSTILE, 1.0)], decimal),
    ):
        assert "<script" not in svg
        assert HOSTILE in [element.text for element in ElementTree.fromstring(svg).iter()]
        assert ElementTree.fromstring(svg).attrib["aria-label"] == HOSTILE


def test_bars_with_values_have_their_values_as_text() -> None:
    svg = value_chart("t", [("train", 90.0), ("score", 30.0), ("gate", 0.0)], duration)
    widths = [float(bar.attrib["width"]) for bar in shapes(svg, "rect")]
    assert widths == pytest.approx([widths[0], widths[0] / 3, 1.0], abs=0.11)
    assert [text.text for text in shapes(svg, "text")] == ["train", "1 min 30 s", "score", "30.0 s", "gate", "0.0 s"]


def test_a_chart_says_its_numbers_in_words() -> None:
    line = line_chart("t", "x", "y", {"a": [(1, 0.3), (2, 0.1), (3, 0.5), (4, 0.2)]}, decimal)
    for svg, wanted in (
        (line, "a: first 0.300 at 1, last 0.200 at 4, lowest 0.100 at 2, highest 0.500 at 3."),
        (bar_chart("t", "", "", ["g", "h"], {"a": [0.1, 0.2], "b": [0.3, 0.4]}, decimal),
         "g: a 0.100, b 0.300; h: a 0.200, b 0.400."),
        (share_chart("t", [("r", {"a": 0.25, "b": 0.75})], percent), "r: a 25 %, b 75 %."),
        (value_chart("t", [("train", 9.0)], duration), "train: 9.0 s."),
    ):  # fmt: skip
        assert [desc.text for desc in shapes(svg, "desc")] == [wanted]


def test_two_points_are_a_table_and_three_a_line() -> None:
    points = [(1.0, 0.5), (2.0, 0.25), (3.0, 0.75)]
    (table,) = curves("Loss", "step", "loss", {"a": points[:2], "b": points[:1]}, decimal, note="Of a day.")
    assert isinstance(table, Grid)
    assert list(table.head) == ["step", "a", "b"]
    assert [[cell.text for cell in row] for row in table.rows] == [["1", "0.500", "0.500"], ["2", "0.250", ""]]
    assert (table.title, table.note) == ("Loss", "Of a day.")
    (figure,) = curves("Loss", "step", "loss", {"a": points, "b": points[:1]}, decimal)
    assert isinstance(figure, Figure)
    assert list(figure.legend) == ["a", "b"]
    assert curves("Loss", "step", "loss", {"a": []}, decimal) == []


def test_long_names_of_groups_have_several_lines() -> None:
    groups = ["head items", "never clicked items", "tail items", "new items", "warm users"]
    texts = shapes(bar_chart("t", "", "", groups, {"a": [0.1] * 5}, decimal), "text")
    ticks = [text.text for text in texts if text.attrib["class"] == "tick"]
    assert ticks == ["head items", "never", "clicked", "items", "tail items", "new items", "warm users"]
