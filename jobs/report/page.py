"""The page of a report: sections of blocks, put into page.html by Jinja. Whatever is text is escaped there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from jobs.report.charts import Svg


@dataclass(frozen=True)
class Missing:
    """What is not on the page, and why."""

    text: str
    kind: ClassVar[str] = "missing"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "note"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a grid; `tone` is good, bad, muted or heading, `bar` the share of the cell that is filled."""

    text: str
    tone: str = ""
    bar: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table; its first `texts` columns are words, the others are numbers. A row of one cell heads those below it."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    texts: int = 1
    note: str = ""
    layout: str = ""  # half: of the page's width
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Figure:
    """A chart with its title and a line that says how to read it."""

    title: str
    svg: Svg
    legend: Sequence[str] = ()  # in the order of the colours
    note: str = ""
    kind: ClassVar[str] = "figure"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Item:
    """An item in a user's lists; `tone` is its popularity slice."""

    item_id: str
    tone: str
    detail: str = ""


@dataclass(frozen=True)
class Person:
    """A user, what they clicked and what they are shown."""

    user_id: str
    about: str
    history: Sequence[Item]
    candidates: Sequence[Item]


@dataclass(frozen=True)
class People:
    """Users side by side."""

    people: Sequence[Person]
    kind: ClassVar[str] = "people"
    layout: ClassVar[str] = ""


Block = Missing | Note | Facts | Grid | Figure | People


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own; `name` is its anchor."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class KeyFigure:
    """A figure of the top row. `tone` of the change: good, bad or muted."""

    label: str
    value: str
    change: str = ""
    tone: str = "muted"
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """What stands above all sections; `tone` says whether readers follow this run: good or bad."""

    day: str
    model: str
    status: str
    tone: str
    about: str


def render(headline: Headline, key_figures: Sequence[KeyFigure], sections: Sequence[Section]) -> str:
    """The HTML of the page: it refers to nothing outside itself."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(_file("page.html"))
    style = Markup(_file("page.css"))  # our own file, not a text of the log
    return template.render(headline=headline, key_figures=key_figures, sections=sections, style=style) + "\n"


def _file(name: str) -> str:
    return files("jobs.report").joinpath(name).read_text("utf-8")
