"""The page of a report: sections of blocks, rendered by Jinja with page.html, which escapes every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import ClassVar

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from jobs.report.charts import Svg
from jobs.report.figures import NONE


@dataclass(frozen=True)
class Missing:
    """A message in place of content that is missing, with the reason."""

    text: str
    kind: ClassVar[str] = "missing"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a value."""

    pairs: Sequence[tuple[str, str]]
    layout: str = ""  # long: values are sentences
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Cell:
    """A cell of a grid. `tone`: good, bad, muted, strong, code or heading. `bar`: length of a bar, from 0 to 1."""

    text: str
    tone: str = ""
    bar: float | None = None
    href: str = ""  # of another page, to which the text leads


@dataclass(frozen=True)
class Grid:
    """A table whose first `texts` columns are text and the others numbers. A row of one cell is a subheading."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    texts: int = 1
    note: str = ""
    layout: str = ""  # half: of the page's width
    title: str = ""
    kind: ClassVar[str] = "grid"

    def without_empty_columns(self) -> Grid:
        """The same without the columns that have a heading and no value in any row. The first column stays."""
        full = [row for row in self.rows if len(row) == len(self.head)]
        kept = [
            column
            for column in range(len(self.head))
            if not column or not full or any(row[column].text not in ("", NONE) for row in full)
        ]
        rows = [[row[column] for column in kept] if len(row) == len(self.head) else row for row in self.rows]
        texts = sum(column < self.texts for column in kept)
        return replace(self, head=[self.head[column] for column in kept], rows=rows, texts=texts)


@dataclass(frozen=True)
class Figure:
    """A chart with its title, its legend and a note on how to read it."""

    title: str
    svg: Svg
    legend: Sequence[str] = ()  # in the order of the colours
    note: str = ""
    kind: ClassVar[str] = "figure"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Item:
    """An item in a user's lists. `tone`: its popularity slice; `reason`: why it is a candidate."""

    item_id: str
    tone: str
    detail: str = ""
    title: str = ""  # shown in place of the id
    picture: str = ""  # URL
    reason: str = ""


@dataclass(frozen=True)
class Person:
    """A user with their clicks and candidates."""

    name: str
    about: str
    history: Sequence[Item]
    candidates: Sequence[Item]


@dataclass(frozen=True)
class People:
    """Several users, side by side."""

    people: Sequence[Person]
    kind: ClassVar[str] = "people"
    layout: ClassVar[str] = ""


Block = Missing | Facts | Grid | Figure | People


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; `name` is its anchor."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class KeyFigure:
    """A key figure at the top of the page. `tone` of its change: good, bad or muted."""

    label: str
    value: str
    change: str = ""
    tone: str = "muted"
    note: str = ""


@dataclass(frozen=True)
class Step:
    """What a person does about something that is wrong."""

    problem: str
    advice: str
    command: str
    page: str  # of the documentation
    tone: str = "bad"  # or muted, if nothing is wrong


@dataclass(frozen=True)
class Headline:
    """The heading of the page. `tone` of the status: good, bad or muted; `kind`: of what the page is about."""

    day: str
    model: str  # empty if the page is not about one model
    status: str
    tone: str
    about: str
    kind: str = "daily run"
    footer: str = "All numbers are read from the tables of the lake and the model's folder. Times are in UTC."
    links: Sequence[tuple[str, str]] = ()  # (text, address) of other pages
    steps: Sequence[Step] = ()  # beside the status: why it is not good, and what to do


def render(headline: Headline, key_figures: Sequence[KeyFigure], sections: Sequence[Section]) -> str:
    """The HTML of the page, which needs no other file. Sections without content are named in one section at its end."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(_file("page.html"))
    style = Markup(_file("page.css"))  # a file of this package, so it is not escaped
    return template.render(headline=headline, key_figures=key_figures, sections=_filled(sections), style=style) + "\n"


def _filled(sections: Sequence[Section]) -> list[Section]:
    """The sections that have content, their tables without empty columns; and why the others have none."""
    filled, reasons = [], []
    for section in sections:
        texts = [block.text for block in section.blocks if isinstance(block, Missing)]
        if len(texts) == len(section.blocks):
            reasons.append((section.title, " ".join(texts)))
            continue
        blocks = [block.without_empty_columns() if isinstance(block, Grid) else block for block in section.blocks]
        filled.append(replace(section, blocks=blocks))
    if reasons:
        filled.append(Section("missing", "Not on this page", "", [Facts(reasons, layout="long")]))
    return filled


def _file(name: str) -> str:
    return files("jobs.report").joinpath(name).read_text("utf-8")
