"""Lines over days, steps or epochs, drawn only with enough points: of two, a table says more than a cut axis."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.report.charts import Labels, Points, line_chart
from jobs.report.page import Block, Cell, Figure, Grid

MIN_POINTS = 3  # of the longest line of a chart


def curves(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Points],
    labels: Labels,
    x_labels: Labels = "{:,.0f}".format,
    note: str = "",
) -> list[Block]:
    """A chart of the lines; their points as a table if none has MIN_POINTS; nothing without a point."""
    drawn = {name: line for name, line in lines.items() if line}
    if not drawn:
        return []
    if max(map(len, drawn.values())) >= MIN_POINTS:
        legend = list(drawn) if len(drawn) > 1 else ()
        return [Figure(title, line_chart(title, x_label, y_label, drawn, labels, x_labels), legend, note)]
    values = {name: dict(line) for name, line in drawn.items()}
    xs = sorted({x for line in values.values() for x in line})
    rows = [[Cell(x_labels(x)), *(Cell(labels(line[x]) if x in line else "") for line in values.values())] for x in xs]
    return [Grid([x_label, *values], rows, 1, note, layout="half", title=title)]
