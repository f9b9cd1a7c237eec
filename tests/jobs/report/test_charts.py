"""Charts show the numbers that they are given, and escape their texts."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from jobs.report.charts import Axis, bar_chart, line_chart, share_chart
from jobs.report.figures import decimal, percent

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
    ):
        assert "<script" not in svg
        assert HOSTILE in [element.text for element in ElementTree.fromstring(svg).iter()]
        assert ElementTree.fromstring(svg).attrib["aria-label"] == HOSTILE
