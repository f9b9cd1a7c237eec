"""The page of a report: sections of blocks, rendered by Jinja with page.html, which escapes every text."""

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
    """A message in place of content that is missing, with the reason."""

    text: str
    kind: ClassVar[str] = "missing"
    layout: ClassVar[str] = ""


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a value."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"
    layout: ClassVar[str] = ""


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
    kind: ClassVar[str] = "grid"


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


def render(headline: Headline, key_figures: Sequence[KeyFigure], sections: Sequence[Section]) -> str:
    """The HTML of the page, which needs no other file."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(_file("page.html"))
    style = Markup(_file("page.css"))  # a file of this package, so it is not escaped
    return template.render(headline=headline, key_figures=key_figures, sections=sections, style=style) + "\n"


def _file(name: str) -> str:
    return files("jobs.report").joinpath(name).read_text("utf-8")
