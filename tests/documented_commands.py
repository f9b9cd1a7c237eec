"""The commands of a page of the documentation, as words.

Commands are read from code blocks and code spans: those of `batch-recall`, `python -m`, `make` and `spark-submit`.
The rule of placeholders:

- a word of capitals, such as LAKE or DAY, stands for a valid value, and so does a configuration that is not in the
  repository, such as mine.toml;
- `x` stands for any job (`batch-recall x`, `jobs/x.py`), and `...` for a value or for arguments that are left out;
- `[--option value]` may be left out;
- `$NAME` has the value that a block of the same page gives it (NAME="...").

A command in a block is whole. One in the running text may leave out what its job requires, and the value of its last
option: `run-day --skip-done`, `run-day --last`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

PROGRAMS = ("batch-recall", "make", "spark-submit", "python")
BEFORE = re.compile(r"(?:(?:[A-Z_]+=\S+|time|taskset -c \d+|\$|\.\.\.) +)*")  # what may stand before a command
ELLIPSIS = "..."


@dataclass(frozen=True)
class Command:
    """A command of a page. mentioned: options that its comment names. whole: whether all that is required is given."""

    text: str
    words: tuple[str, ...]
    mentioned: tuple[str, ...] = ()
    whole: bool = True


def commands(text: str, jobs: frozenset[str]) -> list[Command]:
    """The commands of a page, in its order. jobs: names with underscores; a span may begin with one of them."""
    found = []
    variables = dict(re.findall(r'^ {4}([A-Z]+)="(.*)"$', text, flags=re.MULTILINE))
    for line, whole in lines(text):
        for name in sorted(variables, reverse=True):
            line = line.replace(f"${name}", variables[name])
        found += _commands_of(line, jobs, whole=whole)
    return found


def options_alone(text: str) -> set[str]:
    """The options of spans that begin with one: `--ds FIRST --last LAST`."""
    spans = (span for span in _spans(text) if span.startswith("--"))
    return {word.partition("=")[0] for span in spans for word in span.split() if word.startswith("--")}


def lines(text: str) -> list[tuple[str, bool]]:
    """Lines of code blocks, continued ones joined, each with True, and spans, each with False."""
    joined = re.sub(r"\\\n\s*", "", text)
    blocks = re.findall(r"^```\w*\n(.*?)^```", joined, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(.*)$", joined, flags=re.MULTILINE)
    whole = [line.strip() for block in blocks for line in block.splitlines()] + indented
    return [(line, True) for line in whole] + [(span, False) for span in _spans(text)]


def _spans(text: str) -> list[str]:
    prose = re.sub(r"^```\w*\n.*?^```|^ {4}[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def _commands_of(line: str, jobs: frozenset[str], *, whole: bool) -> list[Command]:
    code, _, comment = line.partition(" # ")
    found = []
    for part in re.split(r" (?:&&|\|\|) |; ", code):
        text = BEFORE.sub("", part.strip(), count=1)
        program = text.split(" ")[0].rpartition("/")[2]
        is_job = not whole and " --" in text and program.replace("-", "_") in jobs
        if program not in PROGRAMS and not is_job:
            continue
        words = shlex.split(re.sub(r"\[(--[^\]]*)\]", r"\1", text))
        words = ["batch-recall", program, *words[1:]] if is_job else [program, *words[1:]]
        mentioned = tuple(re.findall(r"(?<!\S)--[a-z][a-z-]*", comment))
        found.append(Command(text, tuple(words), mentioned, whole and ELLIPSIS not in words))
    return found
