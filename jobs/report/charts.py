"""Charts as inline SVG: lines, grouped bars, bars with their values, shares of a whole.

Colours are classes of page.css (`.c1`, `.c2`...). The description (`desc`) of a chart says its numbers, for readers who
do not see it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NewType

Svg = NewType("Svg", str)  # markup with every text escaped
Labels = Callable[[float], str]
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 520.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 12.0, 46.0
TICK_WIDTH = 8.0  # of a character of a label below bars, on a phone
ROW = 44.0  # height of a row of a share chart
BAR_ROW, NAME_WIDTH, VALUE_WIDTH = 21.0, 182.0, 90.0  # of a chart of bars with values


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def pixel(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)

    def ticks(self, count: int = 6) -> list[float]:
        """About `count` round values within the axis."""
        if self.low == self.high:
            return [self.low]
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Points],
    labels: Labels,
    x_labels: Labels = "{:,.0f}".format,
) -> Svg:
    """A line per name, over a common x axis of whole numbers. `labels` formats values of y, `x_labels` those of x."""
    points = [point for line in lines.values() for point in line]
    xs = Axis(min(x for x, _ in points), max(x for x, _ in points), LEFT, WIDTH - RIGHT)
    ys = Axis(*_padded([y for _, y in points]), HEIGHT - BOTTOM, TOP)
    parts = [*_y_axis(ys, y_label, labels), _x_label(x_label)]
    steps = sorted({round(tick) for tick in xs.ticks()} & set(range(math.ceil(xs.low), math.floor(xs.high) + 1)))
    parts += [_text(x_labels(step), xs.pixel(step), HEIGHT - BOTTOM + 16, "tick") for step in steps]
    for number, (name, line) in enumerate(lines.items(), start=1):
        path = " ".join(f"{xs.pixel(x):.1f},{ys.pixel(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
        dots = line if len(line) <= 40 else line[-1:]
        parts += [_dot(xs.pixel(x), ys.pixel(y), number, f"{name}, {x_labels(x)}: {labels(y)}") for x, y in dots]
    return _svg(title, HEIGHT, parts, [_described(name, line, labels, x_labels) for name, line in lines.items()])


def bar_chart(
    title: str, x_label: str, y_label: str, groups: Sequence[str], bars: Mapping[str, Sequence[float]], labels: Labels
) -> Svg:
    """For each group one bar per name, from 0 up."""
    ys = Axis(0.0, _padded([0.0, *(value for values in bars.values() for value in values)])[1], HEIGHT - BOTTOM, TOP)
    parts = [*_y_axis(ys, y_label, labels), _x_label(x_label)]
    slot = (WIDTH - LEFT - RIGHT) / len(groups)
    width = min(slot * 0.78 / len(bars), 46.0)
    for index, group in enumerate(groups):
        middle = LEFT + (index + 0.5) * slot
        lines = textwrap.wrap(group, max(int(slot / TICK_WIDTH), 1), break_long_words=False)
        parts += [_text(line, middle, HEIGHT - BOTTOM + 16 + 13 * row, "tick") for row, line in enumerate(lines)]
        left = middle - width * len(bars) / 2
        for number, (name, values) in enumerate(bars.items()):
            top = ys.pixel(values[index])
            shape = f'x="{left + number * width + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}"'
            hint = f"<title>{escape(f'{group}, {name}: {labels(values[index])}')}</title>"
            parts.append(f'<rect class="c{number + 1}" {shape} height="{ys.start - top:.1f}" rx="1.5">{hint}</rect>')
            if len(groups) * len(bars) <= 12:
                parts.append(_text(labels(values[index]), left + (number + 0.5) * width, top - 4, "value"))
    texts = [
        f"{group}: " + ", ".join(f"{name} {labels(values[index])}" for name, values in bars.items())
        for index, group in enumerate(groups)
    ]
    return _svg(title, HEIGHT, parts, texts)


def value_chart(title: str, bars: Sequence[tuple[str, float]], labels: Labels) -> Svg:
    """A row per bar, from 0 to the right, with its name and its value as text."""
    scale = Axis(0.0, max(value for _, value in bars), 0.0, WIDTH - NAME_WIDTH - VALUE_WIDTH)
    parts = []
    for index, (name, value) in enumerate(bars):
        y, width = index * BAR_ROW, scale.pixel(value)
        parts.append(_text(name, 0, y + 14, "row"))
        shape = f'x="{NAME_WIDTH:.1f}" y="{y + 4:.1f}" width="{max(width, 1):.1f}" height="12"'
        parts.append(f'<rect class="c1" {shape} rx="1.5"/>')
        parts.append(_text(labels(value), NAME_WIDTH + width + 6, y + 14, "row"))
    return _svg(title, len(bars) * BAR_ROW, parts, [f"{name}: {labels(value)}" for name, value in bars])


def share_chart(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], labels: Labels) -> Svg:
    """One bar per row, divided into the shares of its parts, which sum to 1."""
    parts = []
    for index, (name, shares) in enumerate(rows):
        left, y = 0.0, index * ROW
        parts.append(_text(name, 0, y + 13, "row"))
        for number, (part, share) in enumerate(shares.items(), start=1):
            width = share * WIDTH
            hint = f"<title>{escape(f'{name}, {part}: {labels(share)}')}</title>"
            shape = f'x="{left:.1f}" y="{y + 18:.1f}" width="{max(width - 1, 0):.1f}" height="18"'
            parts.append(f'<rect class="c{number}" {shape} rx="1.5">{hint}</rect>')
            if width > 44:
                parts.append(_text(labels(share), left + width / 2, y + 31, f"inside on{number}"))
            left += width
    texts = [
        f"{name}: ".removeprefix(": ") + ", ".join(f"{part} {labels(share)}" for part, share in shares.items())
        for name, shares in rows
    ]
    return _svg(title, len(rows) * ROW, parts, texts)


def _y_axis(ys: Axis, label: str, labels: Labels) -> list[str]:
    """Horizontal grid lines with their values, and the label of the axis, if it has one."""
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'<text class="axis side" transform="translate(12 {middle:.1f}) rotate(-90)">{escape(label)}</text>'
    parts = [turned] if label else []
    for tick in ys.ticks():
        y = ys.pixel(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(labels(tick), LEFT - 6, y + 4, "tick end"))
    return parts


def _x_label(label: str) -> str:
    return _text(label, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "axis")


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _dot(x: float, y: float, number: int, hint: str) -> str:
    return f'<circle class="dot c{number}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{escape(hint)}</title></circle>'


def _described(name: str, line: Points, labels: Labels, x_labels: Labels) -> str:
    """A line in words: its ends, and its lowest and highest point."""
    points = {
        "first": line[0],
        "last": line[-1],
        "lowest": min(line, key=lambda point: point[1]),
        "highest": max(line, key=lambda point: point[1]),
    }
    return f"{name}: " + ", ".join(f"{which} {labels(y)} at {x_labels(x)}" for which, (x, y) in points.items())


def _svg(title: str, height: float, parts: Sequence[str], texts: Sequence[str]) -> Svg:
    """texts: the numbers in words."""
    name = escape(title, quote=True)
    inside = "\n".join([f"<desc>{escape('; '.join(texts))}.</desc>", *parts])
    return Svg(f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{name}">\n{inside}\n</svg>')


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values with a margin; an axis that starts at 0 keeps its 0."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (low if low == 0 else low - margin), high + margin


def _round_step(step: float) -> float:
    """`step` rounded up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))
