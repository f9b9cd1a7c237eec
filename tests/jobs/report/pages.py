"""A report page as a test reads it: its tables and key figures, and whether its tags are well nested."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input"}
SELF_CLOSING = {"rect", "line", "polyline", "circle"}


class Page(HTMLParser):
    """Parses a page. Raises ValueError if a tag is not closed, or closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []  # of all tables
        self.texts: list[tuple[str, str]] = []  # element, text
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        if self.open:
            raise ValueError(f"left open: {self.open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in SELF_CLOSING:
            raise ValueError(f"<{tag}/> is no HTML")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"</{tag}> closes nothing that is open")

    def handle_data(self, data: str) -> None:
        if not self.open or not data.strip():
            return
        self.texts.append((self.open[-1], data.strip()))
        if "tr" in self.open and {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data.strip()

    def row(self, name: str) -> list[str]:
        """The one row that begins with a name."""
        (found,) = (row for row in self.rows if row and row[0] == name)
        return found

    def key_figure(self, label: str) -> list[str]:
        """Value, change and note, if it has one, of a figure of the top row."""
        texts = [text for _, text in self.texts]
        place = texts.index(label)
        return texts[place + 1 : place + 4]
